"""News of handed-over pods that comes in another order than it was made."""

from __future__ import annotations

import msgspec

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, DeletePod, Outcome
from rollout.executor.engine.state import StepRun, StepState
from rollout.fleet.objects import Pod
from rollout.sim.registry import PatchType
from rollout.sim.resources import PODS
from tests.simulation.world import SOMEBODY, TARGET, World


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


def test_an_old_pod_whose_release_is_heard_of_late_is_ended_behind_its_successor() -> None:
    strategy = {"maxUnavailable": 0, "maxSurge": 2}
    world = World(8, daemonSets=[{"name": "log-agent", "target": TARGET, "strategy": strategy}])
    engine = world.run.engine
    ds = engine.daemon_sets["log-agent"]
    world.until(lambda: any(step.released_uid for step in ds.steps.values()))
    step = next(step for step in ds.steps.values() if step.released_uid)
    old = step.released_uid
    hear, late = engine.observe, []

    def observe(event: ev.Event, now: float) -> None:
        about = isinstance(event, ev.ReleasedSeen) and event.pod.metadata.uid == old
        late.append(event) if about else hear(event, now)

    ds.view.see_released(step.node, None, world.now)
    engine.observe = observe  # type: ignore[method-assign]
    world.until(lambda: step.state is StepState.SOAKING)
    world.advance(30.0)
    assert step.node not in ds.view.released
    assert step.state is not StepState.DONE

    engine.observe = hear  # type: ignore[method-assign]
    (pod,) = [pod for pod in world.cluster.store.scan(PODS) if pod["metadata"]["uid"] == old]
    engine.observe(ev.ReleasedSeen("log-agent", msgspec.convert(pod, Pod)), world.now)
    assert world.finish().outcome is Outcome.DONE
    left = [pod for pod in world.cluster.store.scan(PODS) if pod["metadata"]["uid"] == old]
    assert all("deletionTimestamp" in pod["metadata"] for pod in left)


def test_an_old_pod_that_somebody_ends_is_not_deleted_once_more() -> None:
    strategy = {"maxUnavailable": 0, "maxSurge": 2}
    world = World(4, daemonSets=[{"name": "log-agent", "target": TARGET, "strategy": strategy}])
    engine = world.run.engine
    ds = engine.daemon_sets["log-agent"]
    decide, deleted = engine.decide, list[str]()

    def noted(now: float) -> list[Action]:
        actions = decide(now)
        deleted.extend(one.uid for one in actions if isinstance(one, DeletePod))
        return actions

    engine.decide = noted  # type: ignore[method-assign]
    node = next(iter(ds.steps))
    world.until(lambda: world.step(node).state is StepState.SOAKING)
    old = ds.view.released[node].metadata
    registry, holds = world.cluster.registry, {"metadata": {"finalizers": ["example.com/holds"]}}
    registry.patch(PODS, "logging", old.name, holds, PatchType.MERGE, SOMEBODY)
    registry.delete(PODS, "logging", old.name, SOMEBODY)

    assert world.finish().outcome is Outcome.DONE
    assert old.uid not in deleted
    assert len(deleted) == 3
