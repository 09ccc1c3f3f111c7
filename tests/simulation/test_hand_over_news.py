"""News of handed-over pods that comes in another order than it was made."""

from __future__ import annotations

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepRun
from rollout.sim.resources import PODS
from tests.simulation.world import TARGET, World


def test_a_list_from_right_before_a_release_leaves_no_old_pod_behind() -> None:
    strategy = {"maxUnavailable": 0, "maxSurge": 2}
    world = World(8, daemonSets=[{"name": "log-agent", "target": TARGET, "strategy": strategy}])
    engine = world.run.engine
    ds = engine.daemon_sets["log-agent"]

    def unseen() -> list[StepRun]:
        return [s for s in ds.steps.values() if s.released_uid and s.node not in ds.view.released]

    world.until(lambda: bool(unseen()))
    step = unseen()[0]
    old = step.released_uid
    engine.observe(ev.ReleasedListed("log-agent", ()), world.now)

    assert world.finish().outcome is Outcome.DONE
    left = [pod for pod in world.cluster.store.scan(PODS) if pod["metadata"]["uid"] == old]
    assert all("deletionTimestamp" in pod["metadata"] for pod in left)
