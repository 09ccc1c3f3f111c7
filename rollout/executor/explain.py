"""One sentence that says why nothing moves, always (L3)."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.executor.engine import (
    backgroundgates,
    baking,
    claiming,
    controlling,
    gatewaiting,
    gatewindows,
    guarding,
    observing,
    settling,
    sight,
    zones,
)
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.health import waiting_for
from rollout.executor.engine.starting import too_much_trouble
from rollout.executor.engine.state import DaemonSetRun, Phase
from rollout.executor.record.record import stopped_text
from rollout.printable import one_line
from rollout.quantity import cut, format_duration

NOTHING = "nothing is left to wait for"  # a run that is not over never says this
_STOPPING = {"hold": "holding", "abort": "aborting", "rollback": "stopping for a rollback"}


def explain(engine: Engine, now: float) -> str:
    """Return what the run waits for at this moment.

    Args:
        engine: the run.
        now: seconds, by the clock of the run.
    """
    return one_line(_sentence(engine, now))


def _sentence(engine: Engine, now: float) -> str:
    if engine.finished is not None:
        return engine.finished.message
    if engine.lost_views:
        return f"{sight.why_blind(engine)}; nothing starts until it is back"
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
        gates = gatewaiting.sentence(engine, oldest) or claiming.sentence_of(engine, oldest)
        if gates:
            return f"{prefix}{oldest.node}{more}: {gates}"
        what = waiting_for(oldest, ds, node, now, engine.plan.health)
        return f"{prefix}waiting for {oldest.node}{more}: {what}"
    named = controlling.approved_by_name(engine)
    if prefix and named:
        return f"{prefix}{cut([run.node for run in named])}: {_waiting_to_start(engine, now)}"
    if prefix:
        return prefix.rstrip("; ")
    if taking_back := settling.waits_for(engine):
        return taking_back
    return gatewaiting.sentence(engine) or _waiting_to_start(engine, now)


def _sets(engine: Engine) -> Iterable[DaemonSetRun]:
    return engine.daemon_sets.values()


def _ending(engine: Engine) -> str:
    count = f" ({engine.in_flight} in flight)" if engine.in_flight else ""
    if engine.drift_why:
        return f"stopping{count}: {engine.drift_why}; "
    if engine.hold_why:
        return f"holding{count}: {engine.hold_why}; "
    stop = engine.wishes.stop
    if stop is not None and stop.verb != "pause":
        return f"{_STOPPING[stop.verb]}{count}: {stop}; "
    if engine.stop_why or stop is not None:
        word = "pausing" if engine.in_flight else "paused"
        return f"{stopped_text(f'{word}{count}', engine.stop_why or str(stop))}; "
    return ""


def _waiting_to_start(engine: Engine, now: float) -> str:
    asked = engine.stepping.asked
    if asked is not None:
        return f"waiting for an answer: may {asked.node} go?"
    window = gatewindows.window_sentence(engine, now)
    if window:
        return window
    if engine.claiming.parked and not any(ds.waits for ds in engine.daemon_sets.values()):
        return claiming.sentence(engine)
    for ds in engine.daemon_sets.values():
        why = _waiting_for_control_plane(ds) or _closed_zone(engine, ds)
        why = why or _waiting_for_room(engine, ds, now)
        if why:
            return why
    if engine.unreachable.waiting:
        return _waiting_for_nodes(engine, now)
    return _waiting_between_waves(engine, now)


def _waiting_for_control_plane(ds: DaemonSetRun) -> str:
    if ds.phase in (Phase.PREPARING, Phase.RESTORING):
        return f"waiting for the API server to take the patch of DaemonSet {ds.name}"
    if ds.phase is Phase.OBSERVING:
        return f"waiting for the controller to observe the new template of DaemonSet {ds.name}"
    if ds.live is None and ds.behind is not None:
        return f"{observing.behind_text(ds, ds.behind)}: waiting for the API server to catch up"
    if ds.live is None or not (ds.listed and ds.released_listed):
        return f"waiting for the first list of the pods of DaemonSet {ds.name}"
    if not ds.resolved:
        return f"waiting for the controller to record the revision of DaemonSet {ds.name}"
    return ""


def _waiting_for_room(engine: Engine, ds: DaemonSetRun, now: float) -> str:
    if not ds.waits:
        return ""
    if not engine.nodes_listed:
        return "waiting for the first list of the nodes"
    if engine.pace.next_at > now:
        return "waiting for the rate limit (replacementsPerSecond)"
    if not claiming.has_room(engine) and (others := claiming.sentence(engine)):
        return others
    names = cut(sorted(ds.view.used))
    return f"the budget of DaemonSet {ds.name} ({_limit(engine, ds)}) is used up by {names}"


def _limit(engine: Engine, ds: DaemonSetRun) -> str:
    """Name the limit that holds for the next step: the run's own, or a lower one of its wave."""
    wave = engine.plan.waves[min(run.step.wave for run in ds.heads()) - 1]
    limit = wave.max_unavailable
    if limit is None or ds.as_it_is(limit).value >= ds.budget(None):
        return ds.budget_text
    return f"maxUnavailable {ds.as_it_is(limit).text} of wave {wave.name}"


def _waiting_between_waves(engine: Engine, now: float) -> str:
    return baking.sentence(engine, now) or backgroundgates.sentence(engine) or NOTHING


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
