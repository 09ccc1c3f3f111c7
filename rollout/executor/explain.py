"""One sentence that says why nothing moves, always (L3)."""

from __future__ import annotations

from rollout.executor.engine import Engine
from rollout.executor.health import waiting_for
from rollout.executor.starting import too_much_trouble
from rollout.executor.state import Phase
from rollout.quantity import cut


def explain(engine: Engine, now: float) -> str:
    """Return what the run waits for at this moment.

    Args:
        engine: the run.
        now: seconds, by the clock of the run.
    """
    if engine.finished is not None:
        return engine.finished.message
    if engine.lost_views:
        resource, reason = next(iter(engine.lost_views.items()))
        return f"no view of {resource} ({reason}); nothing starts until it is back"
    prefix = _ending(engine)
    flying = engine.flying
    trouble = [run.node for run in flying if run.in_trouble]
    if not prefix and too_much_trouble(engine):
        limit = engine.plan.failure.max_in_trouble
        prefix = f"{len(trouble)} nodes are in trouble (maxInTrouble {limit}): {cut(trouble)}; "
    if flying:
        oldest = flying[0]
        ds = engine.daemon_sets[oldest.step.daemon_set]
        more = f" and {len(flying) - 1} more" if len(flying) > 1 else ""
        node = engine.nodes.get(oldest.node)
        what = waiting_for(oldest, ds, node, now, engine.plan.health)
        return f"{prefix}waiting for {oldest.node}{more}: {what}"
    if prefix:
        return prefix.rstrip(": ")
    return _waiting_to_start(engine)


def _ending(engine: Engine) -> str:
    count = f"({engine.in_flight} in flight)" if engine.in_flight else ""
    if engine.drift_why:
        return f"stopping {count}: {engine.drift_why}; "
    if engine.hold_why:
        return f"holding {count}: {engine.hold_why}; "
    if engine.stop_why:
        return f"{'pausing' if engine.in_flight else 'paused'} {count}: {engine.stop_why}; "
    return ""


def _waiting_to_start(engine: Engine) -> str:
    for ds in engine.daemon_sets.values():
        if ds.phase in (Phase.PREPARING, Phase.RESTORING):
            return f"waiting for the API server to take the patch of DaemonSet {ds.name}"
        if ds.phase is Phase.OBSERVING:
            return f"waiting for the controller to observe the new template of DaemonSet {ds.name}"
        if not ds.resolved:
            return f"waiting for the controller to record the revision of DaemonSet {ds.name}"
        if ds.waits and ds.view.unavailable:
            names = cut(sorted(ds.view.unavailable))
            limit = ds.planned.budget_text
            return f"the budget of DaemonSet {ds.name} ({limit}) is used up by {names}"
        if ds.waits:
            return "waiting for the rate limit (replacementsPerSecond)"
    return "waiting for the bake time of the wave"
