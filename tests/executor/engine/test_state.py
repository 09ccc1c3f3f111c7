"""Which steps of a DaemonSet wait for room."""

from __future__ import annotations

from rollout.executor.engine.state import StepState
from tests.simulation.world import World


def test_behind_a_step_that_waits_no_longer_the_next_one_is_seen() -> None:
    world = World(6)
    world.until_deletes(2)
    engine = world.run.engine
    ds = engine.daemon_sets["log-agent"]
    waiting = [run for run in ds.steps.values() if run.state is StepState.READY]
    assert len(waiting) > len(ds.heads())
    for head in ds.heads():
        engine.end(ds, head, StepState.SKIPPED, "skipped by ann", world.now)

    assert ds.waits
    assert {run.state for run in ds.heads()} == {StepState.READY}
