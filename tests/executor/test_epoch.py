"""S5 and S9 in a whole run: a record under a higher epoch ends it before its next write."""

from __future__ import annotations

import json
from pathlib import Path

from rollout.executor.engine.actions import Outcome
from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAMESPACE, NEW
from tests.executor.runworld import RunWorld, run_world

RECORD = f"/api/v1/namespaces/{NAMESPACE}/configmaps/rollout-log-agent-2.4"


def written_by_the_run(world: RunWorld) -> list[str]:
    writes = [e for e in world.writes() if e.user == "runner" and "/leases" not in e.path]
    return [f"{e.verb} {e.path}" for e in writes]


def test_a_foreign_epoch_in_the_record_stops_the_run_before_its_next_write(tmp_path: Path) -> None:
    with run_world(tmp_path) as world:
        world.break_image(NEW, Fault(FaultKind.NEVER_READY))
        applying = world.applying(world.planned(strategy={"maxUnavailable": 1}))
        applying.heard.await_(lambda heard: heard.kinds("node-started"))
        admin = world.client()
        found = admin.get(RECORD, dict)
        record = json.loads(found["data"]["record"])
        assert record["epoch"] == 1
        stolen = json.dumps({**record, "epoch": 7})
        admin.replace(RECORD, {**found, "data": {**found["data"], "record": stolen}}, dict)
        written = written_by_the_run(world)
        applying.heard.await_(lambda heard: heard.kinds("drift"))
        world.break_image(NEW, None)
        result = applying.end()
        assert result.finish.outcome is Outcome.DRIFT
        assert "epoch 7, ours is 1" in result.finish.message
        assert written_by_the_run(world) == written
        assert "could not be written into its record" in applying.heard.warnings[0]
        stored = world.record()
        assert stored is not None
        assert (stored["epoch"], stored["phase"]) == (7, "running")


def test_the_next_run_takes_an_epoch_above_that_of_the_record(tmp_path: Path) -> None:
    with run_world(tmp_path) as world:
        plan = world.planned(waves=[{"name": "a", "size": 1, "pause": "approval"}, {"name": "b"}])
        first, _ = world.apply(plan)
        assert first.finish.outcome is Outcome.PAUSED
        admin = world.client()
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/rollout-log-agent"
        admin.delete(leases, uid=admin.get(leases, dict)["metadata"]["uid"])
        record = world.record()
        assert record is not None
        found = admin.get(RECORD, dict)
        older = json.dumps({**record, "epoch": 7})
        admin.replace(RECORD, {**found, "data": {**found["data"], "record": older}}, dict)
        world.apply(plan)
        again = world.record()
        assert again is not None
        assert again["phase"] == "paused"
        assert admin.get(leases, dict)["spec"]["leaseTransitions"] == 8
