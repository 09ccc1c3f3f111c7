"""The gate `pods`: are the new pods well, and are they worse than the old ones?

The limits of the gate decide first. Beside them stands the control group, the pods of the nodes
that aren't updated yet: where new pods are worse than old ones by more than chance, the release is
to blame, also while the limits still hold; where both are bad alike, it is not. A node that should
run a pod and has none counts as one that is bad. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.fleet.objects import Pod, parse_time
from rollout.gates.context import Context, bare_nodes
from rollout.gates.fisher import worse
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gatespec import PodsGate
from rollout.quantity import cut, format_duration, parse_amount, parse_duration

FAILS_BELOW = 0.001  # p: so rarely chance alone makes new pods look so much worse
EXTENDS_BELOW = 0.05  # p: not clear yet, so it is measured again


@dataclass(frozen=True, slots=True)
class Group:
    """Pods that are compared: how many there are, and which of them are bad, with the reason."""

    total: int
    bad: tuple[tuple[str, str], ...]

    @property
    def good(self) -> int:
        """Pods that aren't bad."""
        return self.total - len(self.bad)

    def __str__(self) -> str:
        return f"{len(self.bad)} of {self.total}"


def measure(gate: PodsGate, context: Context) -> Reading | Measurement:
    """Measure it; without new pods at preflight, the fleet as it is."""
    if gate.at == "preflight":
        return _before(gate, context)
    new, lost = _only(context.updated, context), bare_nodes(context)
    if not new and not lost:
        text = "there is no new pod to look at"
        return Measurement(Outcome.NO_DATA, context.now, reason=text)
    restarted = [pod for pod in new if pod.restarts > gate.max_restarts]
    waiting = [(pod, r) for pod in new for r in _waiting(pod) if r in gate.waiting_reasons]
    group = judge_group(new, context.since, lost, gate.max_restarts)
    control = _control(gate, context)
    p = worse(len(group.bad), group.good, len(control.bad), control.good)
    result = {
        "total": group.total,
        "bad": len(group.bad),
        "restarts": max((pod.restarts for pod in new), default=0),
        "controlTotal": control.total,
        "controlBad": len(control.bad),
        "p": p,
    }
    if restarted:
        reason = f"more than {gate.max_restarts} restarts: {_names(restarted)}"
        return Reading(result, _blame(gate, group, control, p), reason)
    if waiting:
        return Reading(result, Outcome.FAILED, f"{waiting[0][0].metadata.name} is {waiting[0][1]}")
    if group.good < parse_amount(gate.available).resolve(group.total):
        return Reading(result, *_unavailable(gate, group, control, p))
    if p < FAILS_BELOW:
        return Reading(result, Outcome.FAILED, _compared(group, control, p))
    if p < EXTENDS_BELOW:
        text = f"{_compared(group, control, p)}: not clear yet, it is measured again"
        return Measurement(Outcome.WAITING, context.now, f"p = {p:.2g}", text)
    if not new:
        text = f"there is no new pod to look at: none is left on {cut(lost)}"
        return Measurement(Outcome.NO_DATA, context.now, reason=text)
    well = f"{group.good} of {group.total} new pods are well{_untold(gate, group, control)}"
    return _restless(gate, new, context) or Reading(result, Outcome.PASSED, well)


def judge_group(
    pods: tuple[Pod, ...], since: float, bare: Sequence[str] = (), tolerated: int = 0
) -> Group:
    """Return which pods are bad: not ready, going, ended, or restarted since the change.

    Args:
        pods: of one group.
        since: when the change was made, in seconds.
        bare: nodes that should run such a pod and have none.
        tolerated: so many restarts of a pod, in all, make it no bad one.
    """
    found = [(pod.metadata.name, _ill(pod, since, tolerated)) for pod in pods]
    found += [(node, "has no pod") for node in bare]
    return Group(len(found), tuple((name, why) for name, why in found if why))


def _control(gate: PodsGate, context: Context) -> Group:
    """Return the pods of the nodes that aren't updated yet, where they are compared with."""
    if not gate.control_group:
        return Group(0, ())
    bare = [bare.node for bare in context.bare_before]
    return judge_group(context.control, context.since, bare, gate.max_restarts)


def _before(gate: PodsGate, context: Context) -> Reading | Measurement:
    """Judge a fleet before anything is changed."""
    pods, limit = context.control + context.updated, gate.unavailable_before
    if not pods:
        text = "there is no pod yet to compare with"
        return Measurement(Outcome.NO_DATA, context.now, reason=text)
    ill = [pod.metadata.name for pod in pods if not pod.ready or pod.terminating]
    ill += [f"none on {bare.node}" for bare in context.bare_before]
    total = len(pods) + len(context.bare_before)
    result = {"total": total, "bad": len(ill)}
    text = f"{len(ill)} of {total} pods are unavailable before the start"
    if parse_amount(limit).exceeded_by(len(ill), total):
        reason = f"already unhealthy: {text}, more than {limit}: {cut(ill)}"
        return Reading(result, Outcome.FAILED, reason)
    return Reading(result, Outcome.PASSED, text)


def _only(pods: tuple[Pod, ...], context: Context) -> tuple[Pod, ...]:
    """Return the pods of the gate's node, where it is measured for one."""
    if context.node is None:
        return pods
    return tuple(pod for pod in pods if pod.target_node == context.node.metadata.name)


def _ill(pod: Pod, since: float, tolerated: int) -> str:
    if pod.terminating:
        return "is terminating"
    if pod.terminal:
        return f"is {pod.status.phase}"
    if not pod.ready:
        reasons = _waiting(pod)
        return f"is not ready ({reasons[0]})" if reasons else "is not ready"
    last = _last_restart(pod)
    if last is not None and last >= since and pod.restarts > tolerated:
        return "was restarted since the change"
    return ""


def _waiting(pod: Pod) -> list[str]:
    statuses = pod.status.init_container_statuses + pod.status.container_statuses
    waiting = [status.state.waiting for status in statuses]
    return [found.reason for found in waiting if found is not None and found.reason]


def _last_restart(pod: Pod) -> float | None:
    """Return when a container ended last and was started again; None when none ever was."""
    ended = [
        status.last_state.terminated.finished_at
        for status in pod.status.container_statuses
        if status.last_state.terminated is not None
    ]
    return max((parse_time(text) for text in ended if text), default=None)


def _restless(gate: PodsGate, new: tuple[Pod, ...], context: Context) -> Measurement | None:
    """Return how long to wait until every new pod has gone so long without a restart.

    What counts is the time right before the next wave: a bake time has to be over.
    """
    wanted, now = parse_duration(gate.restart_free), context.now
    if not wanted:
        return None
    if now < context.baked_at:
        reason = f"the wave bakes for {format_duration(context.baked_at - now)} more"
        return Measurement(Outcome.WAITING, now, reason=reason)
    since = {pod.metadata.name: _quiet_since(pod, now) for pod in new}
    name, begin = max(since.items(), key=lambda item: item[1])
    if now - begin >= wanted:
        return None
    text = f"{name} is without a restart for {format_duration(now - begin)}"
    reason = f"{text}, not yet for {format_duration(wanted)}"
    return Measurement(Outcome.WAITING, now, reason=reason, again_at=begin + wanted)


def _quiet_since(pod: Pod, now: float) -> float:
    """Return since when the pod runs without a restart; `now` when nobody can tell."""
    last = _last_restart(pod)
    if last is not None:
        return last
    if pod.restarts or not pod.metadata.creation_timestamp:
        return now
    return parse_time(pod.metadata.creation_timestamp)


def _blame(gate: PodsGate, group: Group, control: Group, p: float) -> Outcome:
    """Return failed, or inconclusive where the old pods are bad as well."""
    ill_anyway = control.total and p >= EXTENDS_BELOW and _too_many(gate, control)
    return Outcome.INCONCLUSIVE if ill_anyway and group.bad else Outcome.FAILED


def _too_many(gate: PodsGate, control: Group) -> bool:
    return parse_amount(gate.unavailable_before).exceeded_by(len(control.bad), control.total)


def _unavailable(gate: PodsGate, group: Group, control: Group, p: float) -> tuple[Outcome, str]:
    name, why = group.bad[0]
    text = f"{group} new pods are not well ({name} {why}); {gate.available} have to be"
    outcome = _blame(gate, group, control, p)
    if outcome is Outcome.INCONCLUSIVE:
        return outcome, f"old and new pods fail alike: {text}; and so are {control} old ones"
    return outcome, f"only new pods fail: {text}" if control.total else text


def _compared(group: Group, control: Group, p: float) -> str:
    return f"{group} new pods are bad against {control} old ones (p = {p:.2g})"


def _untold(gate: PodsGate, group: Group, control: Group) -> str:
    """Say so where even the worst would prove nothing against so few old pods."""
    if not gate.control_group or worse(group.total, 0, 0, control.total) < EXTENDS_BELOW:
        return ""
    return f"; {control.total} old ones are too few to compare with"


def _names(pods: list[Pod]) -> str:
    return cut([f"{pod.metadata.name} ({pod.restarts})" for pod in pods])
