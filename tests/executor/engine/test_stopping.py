"""A run that shall stop: what it still waits for, and for how long."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from rollout.executor.engine.actions import Outcome
from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NEW
from tests.executor.runworld import QUICK, run_world


def test_what_is_in_flight_is_awaited_for_the_grace_and_no_longer(tmp_path: Path) -> None:
    with run_world(tmp_path) as world:
        world.break_image(NEW, Fault(FaultKind.NEVER_READY))
        plan = world.planned(strategy={"maxUnavailable": 1})
        applying = world.applying(plan, replace(QUICK, grace_s=0.2))
        applying.heard.await_(lambda heard: heard.kinds("node-started"))
        (node,) = applying.heard.kinds("node-started")
        applying.inbox.stop("stopped by SIGINT")
        result = applying.end()
        assert result.finish.outcome is Outcome.PAUSED
        assert result.finish.message == (
            f"stopped by SIGINT; not awaited any longer: {node} (the grace of 200ms is over)"
        )
        record = world.record()
        assert record is not None
        assert record["phase"] == "paused"
        world.break_image(NEW, None)
        again, _ = world.apply(plan)
        assert again.finish.outcome is Outcome.DONE
        assert set(world.deletes().values()) == {1}


def test_a_stopped_run_whose_cluster_is_gone_ends_soon_and_says_what_is_not_known(
    tmp_path: Path,
) -> None:
    with run_world(tmp_path) as world:
        world.break_image(NEW, Fault(FaultKind.NEVER_READY))
        plan = world.planned(strategy={"maxUnavailable": 1})
        tuning = replace(QUICK, lease_s=1.5, grace_s=600.0, blind_s=1.0)
        applying = world.applying(plan, tuning)
        applying.heard.await_(lambda heard: heard.kinds("node-started"))
        world.cluster.server.stop()
        applying.inbox.stop("stopped by SIGINT")
        began = time.monotonic()
        result = applying.end()
        assert time.monotonic() - began < 200.0
        assert result.finish.outcome is Outcome.PAUSED
        assert "not awaited any longer: node-" in result.finish.message
        assert "no view of" in result.finish.message
        assert "could not be written into its record" in applying.heard.warnings[0]
