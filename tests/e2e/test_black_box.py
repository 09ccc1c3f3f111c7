"""The real command on 200 nodes over a line that breaks, killed again and again until it is done.

What is judged is what the API server's audit log tells, and nothing else.
"""

from __future__ import annotations

import itertools
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.sim.audit import AuditLog
from rollout.sim.rbac import ADMIN
from rollout.sim.store import Object
from tests.e2e.auditjudge import judge, read_log
from tests.e2e.badline import bad_line
from tests.e2e.world import COMMAND, NEW, PATIENCE_S, Running, World, fleet, world

NODES = 200
LIMIT = 40
SEED = 7


class Tripwire:
    """Kills a command as soon as it has had so many pods deleted, as the audit log tells."""

    def __init__(self) -> None:
        self._wanted = NODES + 1
        self._deleted = 0
        self._kill: Callable[[], object] = int

    def set(self, more: int, kill: Callable[[], object]) -> None:
        self._wanted, self._kill = self._deleted + more, kill

    def look(self, event: Object) -> None:
        reference = event.get("objectRef", {})
        deleted = event["verb"] == "delete" and reference.get("resource") == "pods"
        if deleted and event["user"]["username"] == ADMIN.name:
            self._deleted += event["responseStatus"]["code"] < 300
            if self._deleted >= self._wanted:
                self._kill()


def apply_until_done(cluster: World, plan: Path, kubeconfig: Path, wire: Tripwire) -> list[int]:
    """Apply a plan, killing the command after a random number of deletes; return its exit codes."""
    rng = random.Random(SEED)
    codes: list[int] = []
    for attempt in itertools.count():
        assert attempt < 40, codes
        with Running("apply", plan, "--kubeconfig", kubeconfig, command=COMMAND) as command:
            with cluster.cluster.lock:
                wire.set(rng.randint(15, 45), command.process.kill)
            codes.append(command.process.wait(PATIENCE_S))
        if codes[-1] == 0:
            return codes
    return codes


@pytest.mark.parametrize(
    ("strategy", "most_down", "most_doubled"),
    [
        pytest.param({"maxUnavailable": LIMIT}, LIMIT, 0, id="unavailable"),
        pytest.param({"maxSurge": LIMIT, "maxUnavailable": 0}, 0, LIMIT, id="hand-over"),
    ],
)
def test_fault_38_kills_and_a_broken_line_change_nothing_on_200_nodes(
    tmp_path: Path, strategy: dict[str, Any], most_down: int, most_doubled: int
) -> None:
    log, wire = tmp_path / "audit.jsonl", Tripwire()
    audit = AuditLog(log)
    audit.subscribe(wire.look)
    with ExitStack() as stack:
        cluster = stack.enter_context(world(fleet(NODES, 4), tmp_path, audit=audit))
        before = cluster.daemon_set()
        pods = set(cluster.pod_names().values())
        plan = cluster.plan(
            cluster.spec(
                strategy=strategy,
                health={"soak": 0, "nodeTimeout": "5m"},
                waves=[{"name": "all"}],
            )
        )
        line = stack.enter_context(bad_line(cluster.cluster.server.address, SEED))
        kubeconfig = cluster.cluster.kubeconfig("")
        kubeconfig["clusters"][0]["cluster"]["server"] = line.url
        bad = tmp_path / "bad"
        bad.write_text(yaml.safe_dump(kubeconfig))
        codes = apply_until_done(cluster, plan, bad, wire)
        images, after = cluster.images(), cluster.daemon_set()
    verdict = judge(read_log(log), before["metadata"]["uid"])
    deletes, kills = verdict.deletes_by(ADMIN.name), codes.count(-signal.SIGKILL)
    kubelets = {f"system:node:{delete.node}" for delete in deletes}
    assert kills >= 4
    assert min(line.fates[fate] for fate in ("reset", "cut", "stall")) >= 1
    assert Counter(delete.pod for delete in deletes) == dict.fromkeys(pods, 1)
    assert all(delete.bound for delete in deletes)
    assert {delete.user for delete in verdict.deletes} == {ADMIN.name, *kubelets}
    assert verdict.created == NODES
    assert set(images.values()) == {NEW}
    assert len(verdict.down) <= most_down, sorted(verdict.down)
    assert len(verdict.doubled) <= most_doubled, sorted(verdict.doubled)
    assert after["spec"]["updateStrategy"] == before["spec"]["updateStrategy"]
