"""The gate `logs` on the embedded cluster: what the new pods have written since the change."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from rollout.cluster.client import Client
from rollout.fleet.objects import ContainerStatus, Pod, PodMeta, PodSpec, PodStatus
from rollout.gates.context import Bare
from rollout.gates.logs import Found, judge_found, measure
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.sim.images import Behaviour, Fault, FaultKind
from rollout.sim.resources import PODS
from rollout.sim.store import Object
from tests.e2e.world import NEW, OLD
from tests.gates.scene import Scene, scene
from tests.gates.worlds import NOW, a_context, a_gate

ERROR = 'level=error msg="cannot open \x1b[31m/etc/agent"'
SAYS = Behaviour(logs=(ERROR,))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    images = {NEW: SAYS, OLD: Behaviour(logs=("level=error old one",))}
    with scene(tmp_path_factory.mktemp("logs"), images=images) as running:
        running.wait_for(PODS, lambda pod: starts(pod, NEW))
        yield running


def starts(pod: Object, image: str) -> bool:
    statuses = pod["status"].get("containerStatuses", ())
    return any(s["image"] == image and "running" in s["state"] for s in statuses)


def look(shared: Scene, node: str = "", /, **fields: Any) -> Measurement:
    return shared.measure(a_gate("logs", **fields), node)


def test_a_line_that_matches_fails_and_is_shown_without_what_steers_a_terminal(
    shared: Scene,
) -> None:
    found = look(shared, pattern="level=error")
    assert (found.outcome, found.value) == (Outcome.FAILED, "1")
    assert found.reason == (
        '1 lines match on node-000: level=error msg="cannot open [31m/etc/agent"'
    )


def test_only_the_new_pods_are_read(shared: Scene) -> None:
    assert look(shared, pattern="old one").outcome is Outcome.PASSED


def test_a_node_that_runs_no_new_pod_has_no_data(shared: Scene) -> None:
    assert look(shared, "node-001", pattern="x").outcome is Outcome.NO_DATA
    assert look(shared, "node-000", pattern="level=error").outcome is Outcome.FAILED


def test_so_many_lines_may_match(shared: Scene) -> None:
    assert look(shared, pattern="level=error", maxMatches=1).outcome is Outcome.PASSED


def test_what_was_written_before_the_change_does_not_count(shared: Scene) -> None:
    gate = a_gate("logs", pattern="level=error")
    found = shared.measure(gate, since=shared.picture().now + 60)
    assert found.outcome is Outcome.PASSED


def test_a_line_that_is_required_is_waited_for(shared: Scene) -> None:
    assert look(shared, require="cannot open").outcome is Outcome.PASSED
    found = look(shared, require="listening on")
    assert found.outcome is Outcome.WAITING
    assert found.reason.startswith("the line that is required has not appeared yet: log-agent-")


def test_the_failure_pattern_comes_before_the_required_one(shared: Scene) -> None:
    found = look(shared, pattern="level=error", require="listening on")
    assert found.outcome is Outcome.FAILED


def test_a_log_that_is_longer_than_the_limit_never_passes(shared: Scene) -> None:
    found = look(shared, pattern="panic", limitBytes=10)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "longer than limitBytes 10, the rest is unread" in found.reason


def test_a_container_that_there_is_not_has_no_data(shared: Scene) -> None:
    found = look(shared, pattern="x", container="sidecar")
    assert found.outcome is Outcome.NO_DATA
    assert "no container sidecar has started" in found.reason


def test_a_container_that_cannot_start_has_no_data(tmp_path: Path) -> None:
    images = {NEW: Behaviour(fault=Fault(FaultKind.UNPULLABLE))}
    with scene(tmp_path, images=images) as running:
        running.wait_for(PODS, _waits)
        found = look(running, pattern="x")
    assert found.outcome is Outcome.NO_DATA
    assert "is waiting to start" in found.reason


def test_what_was_written_before_a_restart_counts_unless_it_is_left_out(tmp_path: Path) -> None:
    crash = replace(SAYS, fault=Fault(FaultKind.CRASH, after=0.2))
    with scene(tmp_path, images={NEW: crash}) as running:
        running.wait_for(PODS, lambda pod: _restarts(pod) > 0 and starts(pod, NEW))
        running.world.set_image(NEW, Behaviour(logs=(ERROR,)))
        both = look(running, pattern="level=error")
        current = look(running, pattern="level=error", previous=False)
    assert (both.value, current.value) == ("2", "1")


def _waits(pod: Object) -> bool:
    return any("waiting" in s["state"] for s in pod["status"].get("containerStatuses", ()))


def _restarts(pod: Object) -> int:
    return sum(s["restartCount"] for s in pod["status"].get("containerStatuses", ()))


def found(node: str, matches: int = 0, **more: Any) -> Found:
    first = f"bad on {node}" if matches else ""
    return Found(f"pod-{node}", node, matches, first, **more)


def judge(*each: Found, **fields: Any) -> tuple[Outcome, str]:
    said = judge_found(a_gate("logs", pattern="x", **fields), list(each), NOW)
    return (said.otherwise if isinstance(said, Reading) else said.outcome, said.reason)


def test_lines_are_counted_for_each_node() -> None:
    """Two lines on each of two nodes are not four."""
    assert judge(found("a", 2), found("b", 2), maxMatches=2)[0] is Outcome.PASSED
    assert judge(found("a", 1), found("b", 3), maxMatches=2) == (
        Outcome.FAILED,
        "3 lines match on b: bad on b",
    )


def test_several_bad_nodes_are_counted() -> None:
    assert judge(found("a", 1), found("b", 2), found("c")) == (
        Outcome.FAILED,
        "2 lines match on b, and there are 1 more such nodes: bad on b",
    )


def test_one_log_that_cannot_be_read_is_enough_not_to_pass() -> None:
    assert judge(found("a"), found("b", unread="gone")) == (Outcome.NO_DATA, "pod-b: gone")
    assert judge(found("a", 1), found("b", unread="gone"))[0] is Outcome.FAILED


def test_a_node_without_its_new_pod_leaves_its_log_unread(shared: Scene) -> None:
    """S8: the logs of the other nodes say nothing about it."""
    gate = a_gate("logs", pattern="never written")
    lost = (Bare("log-agent", "node-001"),)
    found = shared.measure(gate, bare=lost)
    assert (found.outcome, found.reason) == (Outcome.NO_DATA, "node-001 has no new pod")
    bad = shared.measure(a_gate("logs", pattern="level=error"), bare=lost)
    assert bad.outcome is Outcome.FAILED


class Silent:
    """A cluster that never answers."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)

    def text(self, _path: str, _query: object) -> bytes:
        self.asked.release()
        threading.Event().wait()
        raise AssertionError


def leave_a_measurement_behind() -> None:
    """Measure in a thread of the kind that gates are measured in, and end without it."""
    status = ContainerStatus(name="agent")
    pods = tuple(
        Pod(PodMeta(name, name), PodSpec(name), PodStatus(container_statuses=(status,)))
        for name in ("n1", "n2", "n3")
    )
    silent = Silent()
    context = a_context(client=cast("Client", silent), updated=pods)
    gate = a_gate("logs", pattern="x")
    threading.Thread(target=measure, args=(gate, context), daemon=True).start()
    for _ in pods:
        silent.asked.acquire()


def test_logs_that_never_come_do_not_keep_a_run_from_its_end() -> None:
    code = "from tests.gates.test_logs import *; leave_a_measurement_behind()"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 0
