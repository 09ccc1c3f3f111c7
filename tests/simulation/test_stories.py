"""Whole commands with gates and people on virtual time, and the judge of gates itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.gates import http
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gatespec import HttpGate
from rollout.sim.fleetfile import read_fault
from rollout.sim.resources import PODS
from tests.simulation.oracles import _node, _ready
from tests.simulation.outsideworld import HOST, LIMIT, Turn
from tests.simulation.scenarios import Scenario, fleet_of, script_of
from tests.simulation.turning import begin_turns
from tests.simulation.virtual import SOMEBODY, World

FEW = Scenario(1, 3, 1, 0, 0, 1, 0.0, {}, {}, "heal")
TARGET = {"set": {"image": {"agent": "log-agent:2"}}}
SHARE = {
    "name": "share",
    "kind": "http",
    "url": f"https://{HOST}/share",
    "jsonPath": "$.share",
    "thresholdRange": {"max": LIMIT},
    "interval": "5s",
}
THERE = ("-n", "logging")


@contextmanager
def played(
    gates: list[dict[str, Any]],
    *turns: Turn,
    story: Scenario = FEW,
    strategy: dict[str, Any] | None = None,
    **more: Any,
) -> Iterator[tuple[World, str]]:
    """A small world, and the path of a plan with these gates in it."""
    item = {"name": "log-agent", "target": TARGET, "strategy": strategy or {"maxUnavailable": 1}}
    spec = {
        "daemonSets": [item],
        "waves": [1, "100%"],
        "health": {"soak": 1},
        "gates": gates,
        **more,
    }
    with World(fleet_of(story), faults=script_of(story)) as world:
        path = world.save(world.plan(spec))
        world.begin_faults()
        begin_turns(world, gates, turns)
        yield world, path


def test_an_approval_that_is_wanted_before_the_first_write_can_be_given() -> None:
    with played([{"name": "ask", "kind": "approval", "at": "preflight"}]) as (world, path):
        assert world.run("apply", path).code == ExitCode.PAUSED

        world.judge.gates.voices.add("ask")
        approved = world.run("approve", "sim", "--gate", "ask", *THERE)

        assert approved.code == ExitCode.DONE, approved.text
        assert world.run("apply", path).code == ExitCode.DONE


@pytest.mark.parametrize("patience_s", [1, 5])
def test_a_delete_that_had_to_wait_is_decided_anew_when_the_successor_is_down_by_then(
    patience_s: int,
) -> None:
    """S1: the server asked for patience between the decision to end a hand-over and its end."""
    throttled = {
        "throttle": patience_s,
        "match": {"verbs": ["delete"], "resources": ["pods"]},
        "count": 1,
    }
    story = msgspec.structs.replace(FEW, faults=(throttled,))
    with played([], story=story, strategy={"maxUnavailable": 0, "maxSurge": 1}) as (world, path):
        apply = world.start("apply", path)
        world.wait_until(lambda: world.injector.counters["f0"].hits > 0)
        first = next(iter(world.judge.gates.changes))[1]
        world.cluster.set_image_fault(f"log-agent:2@{first}", read_fault("never-ready"))
        world.advance(30.0)
        assert not world.judge.deletes
        world.cluster.clear_image_faults()

        assert apply.end() == ExitCode.DONE


def test_a_delete_that_had_to_wait_is_decided_anew_when_other_nodes_are_down_by_then() -> None:
    """S1: nobody was down when the server asked for patience."""
    throttled = {"throttle": 5, "match": {"verbs": ["delete"], "resources": ["pods"]}, "count": 1}
    story = msgspec.structs.replace(FEW, faults=(throttled,))
    with played([], story=story) as (world, path):
        apply = world.start("apply", path)
        world.wait_until(lambda: world.injector.counters["f0"].hits > 0)
        for node in ("n-000", "n-001"):
            world.cluster.set_image_fault(f"log-agent:1@{node}", read_fault("never-ready"))
        world.advance(8.0)
        assert len(_ready_nodes(world)) == 1, "a third node was taken down"
        world.cluster.clear_image_faults()

        assert apply.end() == ExitCode.DONE


def _ready_nodes(world: World) -> set[str]:
    return {_node(pod) for pod in world.pods() if _ready(pod)}


@pytest.mark.parametrize(
    ("reaction", "code"),
    [("hold", ExitCode.HELD), ("abort", ExitCode.HELD), ("rollback", ExitCode.ROLLED_BACK)],
)
def test_what_a_gate_says_on_failure_happens(reaction: str, code: ExitCode) -> None:
    gate = {**SHARE, "at": "after-wave", "onFailure": reaction}
    with played([gate], Turn("share", 0.0, 1000.0)) as (world, path):
        assert world.run("apply", path).code == code
        assert world.judge.gates.measured["http"] == 1
        assert set(world.judge.gates.failed) == {"process-0"}


def test_an_alarm_that_trips_in_mid_run_takes_every_node_back() -> None:
    alarm = {
        "name": "alarm",
        "kind": "webhook",
        "at": "background",
        "url": f"https://{HOST}/alarm/trip",
        "trip": True,
        "interval": "5s",
    }
    with played([alarm], Turn("alarm", 7.0, 1000.0)) as (world, path):
        before = {_image(pod) for pod in world.pods()}
        apply = world.run("apply", path)

        assert apply.code == ExitCode.ROLLED_BACK, apply.text
        assert "tripped: the receiver says 200" in apply.text
        assert world.judge.deletes.total() > 0, "nothing was to be taken back"
        assert {_image(pod) for pod in world.pods()} == before
        assert _image(world.daemon_set()["spec"]["template"]) in before


def _image(pod: Mapping[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def test_a_node_is_tried_again_although_its_wave_is_done() -> None:
    """S7: its wave passed with the failure that was allowed; what follows has begun by then."""
    limits: dict[str, Any] = {
        "health": {"soak": 1, "nodeTimeout": "1m"},
        "failure": {"maxFailures": 1},
    }
    with played([], strategy={"maxUnavailable": 2}, waves=[2, "100%"], **limits) as (world, path):
        world.cluster.set_image_fault("log-agent:2@n-000", read_fault("never-ready"))
        apply = world.start("apply", path)
        world.wait_until(lambda: "wave 2 (wave-2) begins" in apply.text)
        world.cluster.clear_image_faults()

        assert world.run("retry", "sim", *THERE).code == ExitCode.DONE
        assert apply.end() == ExitCode.DONE, apply.text
        assert "n-000: is tried again" in apply.text


def test_what_a_kubelet_says_of_a_pod_steers_no_terminal_and_stays_on_its_line() -> None:
    with played([]) as (world, path):
        world.cluster.set_image_fault("log-agent:2", read_fault("never-ready"))
        apply = world.start("apply", path)
        world.wait_until(lambda: "log-agent:2" in map(_image, world.pods()))
        pod = next(pod for pod in world.pods() if _image(pod) == "log-agent:2")
        said = {"reason": "ErrImagePull", "message": "denied\x1b[2J\nn-001: done (1 of 3)"}
        status = {**pod["status"], "containerStatuses": [_waiting(said)]}
        name, body = pod["metadata"]["name"], {**pod, "status": status}
        world.cluster.registry.update(PODS, "logging", name, body, SOMEBODY, subresource="status")

        assert apply.end() == ExitCode.HELD
        told = [line for line in apply.text.splitlines() if "ErrImagePull" in line]
        assert all(line.endswith("denied [2J n-001: done (1 of 3)") for line in told[:1]), told
        assert len(told) > 1, "the table at the end says it too"
        assert not any(c < " " for c in apply.text if c != "\n")
        assert not any(line.startswith("n-001: done") for line in apply.text.splitlines())


def _waiting(why: dict[str, str]) -> dict[str, Any]:
    image = {"name": "agent", "image": "log-agent:2", "imageID": "", "ready": False}
    return {**image, "restartCount": 0, "state": {"waiting": why}}


@pytest.mark.parametrize("at", ["preflight", "before-wave", "before-node", "after-node"])
def test_the_judge_sees_a_gate_that_passes_although_its_server_says_no(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(_gate: HttpGate, context: Context) -> Measurement:
        return Measurement(Outcome.PASSED, context.now)

    monkeypatch.setattr(http, "measure", blind)
    with (
        played([{**SHARE, "at": at}], Turn("share", 0.0, 1000.0)) as (world, path),
        pytest.raises(AssertionError, match=r"S8: gate/.*/share.* passes although no server"),
    ):
        world.run("apply", path)


@pytest.mark.parametrize("at", ["preflight", "before-wave", "after-wave"])
def test_the_judge_sees_a_node_that_begins_behind_a_gate_that_nobody_asked(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.executor.engine.gating._is_behind_us", lambda _book, _run: True)
    with (
        played([{**SHARE, "at": at}]) as (world, path),
        pytest.raises(AssertionError, match=r"S8: n-00. begins, and gate/.*/share has not passed"),
    ):
        world.run("apply", path)


def test_the_judge_sees_a_way_back_that_waits_for_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    with played([{**SHARE, "at": "after-wave"}]) as (world, path):
        judge = world.judge.gates
        back = lambda process, engine, actions, _: judge.check_way_back(process, engine, actions)  # noqa: E731 - as if every way were one back
        monkeypatch.setattr(judge, "check_decision", back)
        with pytest.raises(AssertionError, match=r"S10: the way back has .'share'."):
            world.run("apply", path)
