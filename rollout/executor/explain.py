"""One sentence that says why nothing moves, always (L3)."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.executor import guarding, zones
from rollout.executor.engine import Engine
from rollout.executor.health import waiting_for
from rollout.executor.starting import too_much_trouble
from rollout.executor.state import DaemonSetRun, Phase
from rollout.quantity import cut, format_duration

_STOPPING = {"hold": "holding", "abort": "aborting", "rollback": "stopping for a rollback"}


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
    distrust = next(filter(None, (guarding.reason(engine, d) for d in _sets(engine))), "")
    if distrust and not prefix:
        prefix = f"{distrust}; "
    if flying:
        oldest = flying[0]
        ds = engine.daemon_sets[oldest.step.daemon_set]
        more = f" and {len(flying) - 1} more" if len(flying) > 1 else ""
        node = engine.nodes.get(oldest.node)
        what = waiting_for(oldest, ds, node, now, engine.plan.health)
        return f"{prefix}waiting for {oldest.node}{more}: {what}"
    if prefix:
        return prefix.rstrip(": ")
    return _waiting_to_start(engine, now)


def _sets(engine: Engine) -> Iterable[DaemonSetRun]:
    return engine.daemon_sets.values()


def _ending(engine: Engine) -> str:
    count = f"({engine.in_flight} in flight)" if engine.in_flight else ""
    if engine.drift_why:
        return f"stopping {count}: {engine.drift_why}; "
    if engine.hold_why:
        return f"holding {count}: {engine.hold_why}; "
    stop = engine.wishes.stop
    if stop is not None and stop.verb != "pause":
        return f"{_STOPPING[stop.verb]} {count}: {stop}; "
    if engine.stop_why or stop is not None:
        word = "pausing" if engine.in_flight else "paused"
        return f"{word} {count}: {engine.stop_why or stop}; "
    return ""


def _waiting_to_start(engine: Engine, now: float) -> str:
    for ds in engine.daemon_sets.values():
        if ds.phase in (Phase.PREPARING, Phase.RESTORING):
            return f"waiting for the API server to take the patch of DaemonSet {ds.name}"
        if ds.phase is Phase.OBSERVING:
            return f"waiting for the controller to observe the new template of DaemonSet {ds.name}"
        if not ds.resolved:
            return f"waiting for the controller to record the revision of DaemonSet {ds.name}"
        closed = _closed_zone(engine, ds)
        if closed:
            return closed
        if ds.waits and ds.view.unavailable:
            names = cut(sorted(ds.view.unavailable))
            limit = ds.planned.budget_text
            return f"the budget of DaemonSet {ds.name} ({limit}) is used up by {names}"
        if ds.waits:
            return "waiting for the rate limit (replacementsPerSecond)"
    if engine.unreachable.waiting:
        return _waiting_for_nodes(engine, now)
    return "waiting for the bake time of the wave"


def _waiting_for_nodes(engine: Engine, now: float) -> str:
    """Name the nodes that were set aside, and how long they have."""
    steps = sorted(engine.unreachable.waiting.values(), key=lambda run: run.node)
    since = min(engine.unreachable.since.get(run.node, now) for run in steps)
    left = max(0.0, since + engine.plan.health.node_timeout_s - now)
    names = cut([run.node for run in steps])
    return f"waiting for {names}: not ready; left out in {format_duration(left)} unless back"


def _closed_zone(engine: Engine, ds: DaemonSetRun) -> str:
    """Say so when trouble in other zones keeps the next step from its zone."""
    for run in ds.heads():
        if not zones.is_open(engine, ds, run):
            broken = cut(sorted(ds.view.broken_zones))
            return (
                f"{broken} hold unavailable pods of DaemonSet {ds.name}; nothing starts in "
                f"{run.zone} until there are fewer such zones (maxBrokenZones)"
            )
    return ""
