"""Where a DaemonSet stands: node by node, and one sentence on what is going on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.executor.engine.health import restart_text
from rollout.executor.record.record import AT_WORK, ENDED, RunRecord, wave_name
from rollout.executor.record.recordedgates import RecordedGate
from rollout.executor.runs import HeldLock
from rollout.fleet import marks
from rollout.fleet.objects import Pod, parse_time
from rollout.fleet.released import ReleasedPod, taken_over
from rollout.fleet.snapshot import Fleet
from rollout.planner.fates import NodeFate, node_fates
from rollout.planner.leftovers import find_leftovers, leftover_warnings
from rollout.printable import by_lines
from rollout.quantity import cut, format_age
from rollout.report.control import RunState, doing, run_state, words_text
from rollout.report.gates import results_text
from rollout.report.table import text_table
from rollout.spec import NodeRules


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node of a DaemonSet."""

    node: str
    fate: str
    pod: str
    revision: str
    age: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class DaemonSetState:
    """A DaemonSet with all its nodes."""

    namespace: str
    name: str
    strategy: str
    revision: int | None
    hash: str
    sentence: str
    nodes: tuple[NodeState, ...]
    left_over: tuple[str, ...]  # what earlier runs have left, one sentence each
    run: RunState | None = None  # the run that works on it, or has stopped half-way
    gates: tuple[RecordedGate, ...] = ()  # of the run that works on it, or of the last one
    waves: tuple[str, ...] = ()  # names of that run's waves, as far as its gates stand there


def daemon_set_state(
    fleet: Fleet,
    record: RunRecord | None,
    now: float,
    released: Iterable[ReleasedPod] = (),
    last: RunRecord | None = None,
    lock: HeldLock | None = None,
    *,
    interrupted: bool = False,
) -> DaemonSetState:
    """Work out where the DaemonSet stands.

    Args:
        fleet: what runs now.
        record: of the run that works on it, or None.
        now: seconds since the epoch.
        released: pods that carry the mark of a hand-over.
        last: where none works on it, the record of the run that did so last, if there is one.
        lock: that a live run holds on it, if that is known.
        interrupted: nobody carries that run out, although its record calls it at work.
    """
    live = fleet.daemon_set
    fates = node_fates(fleet, live.spec.template, NodeRules(), now)
    current = fleet.current
    asked = last
    if record is not None:
        asked = record if record.run_id == _run_of(fleet, record) else None
    gates = asked.gates if asked is not None else ()
    released = tuple(released)
    notes = _notes(fates, record, released)
    return DaemonSetState(
        namespace=live.metadata.namespace,
        name=live.metadata.name,
        strategy=live.strategy_type,
        revision=current.revision if current else None,
        hash=fleet.current_hash,
        sentence=_sentence(fleet, record, fates, lock, interrupted=interrupted),
        nodes=tuple(_node(fleet, fate, now, notes) for fate in fates),
        gates=gates,
        waves=_wave_names(asked, gates),
        left_over=_left_over(fleet, released, now),
        run=None
        if record is None
        else run_state(record, _why(record, lock), interrupted=interrupted),
    )


def _left_over(fleet: Fleet, released: Iterable[ReleasedPod], now: float) -> tuple[str, ...]:
    """Return what is left of runs other than the one that the DaemonSet itself names."""
    run = fleet.daemon_set.metadata.annotations.get(marks.RUN)
    left = find_leftovers(fleet, (pod for pod in released if pod.run_id != run or not run), now)
    return () if run and not left.pods else tuple(leftover_warnings(left))


def _run_of(fleet: Fleet, record: RunRecord | None) -> str:
    """Return the run that works on it: a DaemonSet that is OnDelete by choice carries no mark."""
    known = record.run_id if record is not None else ""
    return fleet.daemon_set.metadata.annotations.get(marks.RUN, known)


def _wave_names(record: RunRecord | None, gates: Iterable[RecordedGate]) -> tuple[str, ...]:
    most = max((gate.wave for gate in gates), default=0)
    return () if record is None else tuple(wave_name(record, n) for n in range(1, most + 1))


def state_text(state: DaemonSetState) -> str:
    """Return the state for people."""
    revision = f"revision {state.revision} ({state.hash})" if state.revision else "no revision yet"
    rows = [(n.node, n.fate, n.revision, n.pod, n.state, n.age, n.reason) for n in state.nodes]
    headers = ("NODE", "FATE", "REVISION", "POD", "STATE", "AGE", "REASON")
    head = f"DaemonSet {state.namespace}/{state.name}: {revision}, strategy {state.strategy}"
    warnings = "".join(f"\nWarning: {text}." for text in state.left_over)
    words = words_text(state.run) if state.run is not None else ""
    return by_lines(
        f"{head}\n{state.sentence}{warnings}\n\n{text_table(headers, rows)}{_gates(state)}{words}"
    )


def _gates(state: DaemonSetState) -> str:
    said = results_text(state.gates, state.waves)
    whose = "" if state.run is not None else "The gates of the last run:\n"
    return f"\n\n{whose}{said}" if said else ""


def _why(record: RunRecord, lock: HeldLock | None) -> str:
    """Return why nothing moves, as the run itself says it; "" when it does not."""
    return lock.waits_for if lock is not None and lock.run_id == record.run_id else ""


def _sentence(
    fleet: Fleet,
    record: RunRecord | None,
    fates: list[NodeFate],
    lock: HeldLock | None,
    *,
    interrupted: bool,
) -> str:
    live = fleet.daemon_set
    wanted = [f for f in fates if f.should_run or f.fate in ("update", "deferred")]
    old = [f for f in wanted if f.fate in ("update", "deferred")]
    down = [f.node.metadata.name for f in wanted if f.fate == "current" and not f.available]
    progress = f"{len(wanted) - len(old)} of {len(wanted)} nodes are on the current revision"
    if live.metadata.generation > live.status.observed_generation:
        return "The controller has not observed the latest change of the DaemonSet yet."
    if _run_of(fleet, record):
        healthy = {f.node.metadata.name for f in wanted if f.fate == "current" and f.available}
        cleared = record is not None and not down and _has_cleared(record, healthy)
        why = _why(record, lock) if record is not None else ""
        return _run_sentence(fleet, record, progress, why, cleared=cleared, interrupted=interrupted)
    if lock is not None and lock.waits_for:
        who = f"Run {lock.run_id} ({lock.holder}) has begun and changed nothing yet"
        return f"{who}: {lock.waits_for}; {progress}."
    if not wanted:
        return "No node should run it: nothing to do."
    if old and live.strategy_type == "OnDelete":
        return (
            f"{progress}; under OnDelete the other {len(old)} change when their pod is deleted: "
            "'rollout plan' and 'rollout apply' with target 'live: true' do it in order."
        )
    if old:
        return f"{progress}; the built-in controller replaces the others in random order."
    if down:
        return f"{progress}; not available yet: {cut(down)}."
    return f"Up to date and available on all {len(wanted)} nodes."


def _run_sentence(
    fleet: Fleet,
    record: RunRecord | None,
    progress: str,
    why: str,
    *,
    cleared: bool,
    interrupted: bool,
) -> str:
    run = _run_of(fleet, record)
    kept = _strategy_kept(fleet, record)
    if record is None or record.run_id != run:
        return f"Run {run} works on it and left no record here: half-updated, {progress}; {kept}."
    who = f"Run {run} of rollout {record.name} ({record.started_by}, {record.started_at})"
    if record.signed_by:
        who += f", of a plan signed by {record.signed_by},"
    more = ""
    if cleared:
        more = " The cause has cleared, every updated node is available: apply the plan again."
    return f"{who} is {doing(record, progress, why, interrupted=interrupted)}; {kept}.{more}"


def _strategy_kept(fleet: Fleet, record: RunRecord | None) -> str:
    """Say when the strategy of before the run is back: at the end of a run only if it has one."""
    original = fleet.owner_strategy.get("type", "RollingUpdate")
    marked = marks.RUN in fleet.daemon_set.metadata.annotations
    if not marked and original == "OnDelete":
        return "the strategy is OnDelete by its owner's choice and stays so"
    if marked and fleet.daemon_set.strategy_type != "OnDelete":
        kind = fleet.daemon_set.strategy_type
        return f"its strategy is {kind} already: the controller replaces pods on its own"
    text = f"the original strategy ({original}) comes back"
    if not marked:
        return f"{text} with 'rollout cleanup': its annotations were taken away"
    if record is None or record.phase not in ENDED:
        return f"{text} at its end"
    if record.phase == "complete":
        return f"{text} with a plan that leaves no node out"
    return f"{text} with the next plan, 'rollout rollback' or 'rollout cleanup'"


def _has_cleared(record: RunRecord, healthy: Collection[str]) -> bool:
    """Whether the pods show that what held the run is over.

    They say nothing about somebody's word or a gate, and those of one DaemonSet nothing about a
    failure of another.
    """
    if record.phase != "held" or record.wish is not None or _is_held_by_gate(record):
        return False
    alone = len(record.daemon_sets) == 1
    return not record.failed_count or (alone and all(node in healthy for node in record.failed))


def _is_held_by_gate(record: RunRecord) -> bool:
    """Whether a gate did not pass."""
    return any(g.status in ("failed", "inconclusive", "error") for g in record.gates)


def _notes(
    fates: Iterable[NodeFate], record: RunRecord | None, released: Iterable[ReleasedPod]
) -> dict[str, list[str]]:
    """Return what a node's own pod does not show: that its step failed, and who serves instead.

    The record names nodes alone, so one of several DaemonSets cannot tell whose step it was.
    """
    notes: dict[str, list[str]] = {}
    if record is not None and record.phase not in AT_WORK and len(record.daemon_sets) == 1:
        failed = frozenset(record.failed)
        down = (f.node.metadata.name for f in fates if f.fate == "current" and not f.available)
        notes = {name: ["failed in the run"] for name in down if name in failed}
    for pod in released:
        if taken_over(pod.metadata.owner_references, pod.daemon_set_uid) is None:
            serves = "still serves" if pod.ready else "is still there, not ready"
            does = "is being deleted" if pod.terminating else serves
            notes.setdefault(pod.node, []).append(f"old pod {pod.metadata.name} {does}")
    return notes


def _node(
    fleet: Fleet, fate: NodeFate, now: float, notes: Mapping[str, Sequence[str]]
) -> NodeState:
    reasons = [fate.reason or _restarts(fate.pod, available=fate.available)]
    reasons += notes.get(fate.node.metadata.name, ())
    pod = fate.pod
    revision = fleet.revision_of(pod) if pod else None
    created = pod.metadata.creation_timestamp if pod else None
    return NodeState(
        node=fate.node.metadata.name,
        fate="outdated" if fate.fate == "update" else fate.fate,
        pod=pod.metadata.name if pod else "-",
        revision=str(revision.revision) if revision else "-",
        age=format_age(now - parse_time(created)) if created else "-",
        state=_pod_state(pod, available=fate.available),
        reason="; ".join(reason for reason in reasons if reason),
    )


def _restarts(pod: Pod | None, *, available: bool) -> str:
    """Return how a pod that does not work has ended before: between two crashes it just runs."""
    return restart_text(pod) if pod is not None and pod.restarts and not available else ""


def _pod_state(pod: Pod | None, *, available: bool) -> str:
    if pod is None:
        return "no pod"
    if pod.terminating:
        return "terminating"
    if available:
        return "available"
    for status in pod.status.init_container_statuses + pod.status.container_statuses:
        if status.state.waiting is not None and status.state.waiting.reason:
            return status.state.waiting.reason
    if pod.ready:
        return "ready"
    return "restarted" if pod.restarts else pod.status.phase.lower() or "unknown"
