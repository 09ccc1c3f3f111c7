"""Is the node done, failed, or still on its way? Always on, for every step.

Source: design.md "Per-node health": new UID, target revision, available for the soak time
without a break, restarts, fail-fast reasons after a grace, node still ready. Unknown is never
healthy (S8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollout.executor.engine.state import DaemonSetRun, StepRun
from rollout.fleet.objects import Condition, ContainerStatus, Node, Pod, parse_time
from rollout.planner.plan import HealthRules
from rollout.printable import one_line
from rollout.quantity import format_duration

_STUCK_MARGIN_S = 15.0  # beyond the grace period, for a kubelet that is a little late


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of a node now."""

    healthy: bool = False
    failed: str = ""  # the reason; "" when it has not failed
    soaking: bool = False
    pauses: str = ""  # why the run should pause and let somebody look; "" when it need not
    in_trouble: bool = False  # something is wrong that may yet get well
    look_again: float | None = None  # when time alone can change the verdict


def judge(
    run: StepRun, ds: DaemonSetRun, node: Node | None, now: float, rules: HealthRules
) -> Verdict:
    """Judge a node in flight by its pods.

    Args:
        run: the step.
        ds: the DaemonSet, whose view holds the pods.
        node: the node; None while it is not known.
        now: seconds, by the clock of the run.
        rules: limits from the plan.
    """
    pods = ds.view.on(run.node)
    stranger = _wrong_revision(run, ds, pods)
    if stranger is not None:
        name = stranger.metadata.name
        return Verdict(failed=f"the new pod {name} is not of the target revision")
    pod = _target_pod(run, ds, pods)
    if pod is None:
        return Verdict()
    against = _against(pod, ds, now, rules)
    if against:
        return Verdict(failed=against)
    if _fail_fast(pod, rules) is not None:
        return Verdict(in_trouble=True, look_again=_fail_fast_from(pod, rules))
    verdict = _progress(run, ds, node, now, rules)
    limit, new = rules.pause_restarts, restarts_of(pod) - run.known_restarts
    pauses = restart_text(pod) if limit is not None and new > limit else ""
    troubled = new > 0 or _unschedulable(pod) is not None
    return replace(verdict, pauses=pauses, in_trouble=troubled and not verdict.healthy)


def relapse(run: StepRun, ds: DaemonSetRun, now: float, rules: HealthRules) -> str:
    """Say why the new pod of a node that was done speaks against it; "" when it does not.

    To be not ready for a while does not: that the budget is charged for.
    """
    pod = _target_pod(run, ds, ds.view.on(run.node))
    return _against(pod, ds, now, rules) if pod is not None else ""


def soaked_at(ds: DaemonSetRun, node: str, rules: HealthRules, now: float) -> float:
    """Return when a node's pods had been available for long enough; `now` where that is to come."""
    since = [ds.view.ready_since.get(pod.metadata.uid, now) for pod in ds.view.on(node)]
    return min(now, max(since, default=now) + max(rules.soak_s, ds.view.min_ready_s))


def _against(pod: Pod, ds: DaemonSetRun, now: float, rules: HealthRules) -> str:
    """Say what speaks against a new pod for good; "" when nothing does."""
    if restarts_of(pod) > rules.max_restarts:
        return restart_text(pod)
    stuck = _fail_fast(pod, rules)
    if stuck is not None and now >= _fail_fast_from(pod, rules):
        return f"container {stuck.name}: {_waiting_text(stuck)}"
    flaps = ds.view.flaps.get(pod.metadata.uid, 0)
    if flaps > rules.max_flaps:
        return f"pod {pod.metadata.name} stopped being ready {flaps} times (maxFlaps)"
    return ""


def _progress(
    run: StepRun, ds: DaemonSetRun, node: Node | None, now: float, rules: HealthRules
) -> Verdict:
    """Say how far a node is on which nothing has failed."""
    pods = ds.view.on(run.node)
    pod = _target_pod(run, ds, pods)
    ready_since = ds.view.ready_since.get(pod.metadata.uid) if pod is not None else None
    if ready_since is None or any(not _is_new(run, ds, other) for other in pods):
        return Verdict()
    done_at = ready_since + max(rules.soak_s, ds.view.min_ready_s)
    if now < done_at:
        return Verdict(soaking=True, look_again=done_at)
    return Verdict(healthy=node is not None and node.ready, soaking=True)


def restarts_of(pod: Pod) -> int:
    """Return how often the pod's containers restarted, those that run beside it included."""
    return sum(status.restart_count for status in _statuses(pod))


def waiting_for(
    run: StepRun, ds: DaemonSetRun, node: Node | None, now: float, rules: HealthRules
) -> str:
    """Return what a node in flight still lacks, in half a sentence."""
    pods = ds.view.on(run.node)
    old = [pod for pod in pods if not _is_new(run, ds, pod)]
    if run.awaiting_answer:
        said = f" ({run.said})" if run.said else ""
        return f"the API server has not answered the delete{said}"
    if node is not None and not node.ready:
        return "the node is not ready"
    if old:
        return _terminating_text(old[0], now)
    pod = _target_pod(run, ds, pods)
    if pod is None:
        ending = next((one for one in pods if one.terminating), None)
        if ending is not None:  # of the target itself, on a way back that began in mid-step
            return _terminating_text(ending, now)
        refused = f": it is refused: {ds.pods_refused}" if ds.pods_refused else ""
        return f"the controller has not created the new pod{refused}"
    since = ds.view.ready_since.get(pod.metadata.uid)
    if since is not None:
        left = max(0.0, since + max(rules.soak_s, ds.view.min_ready_s) - now)
        return f"pod {pod.metadata.name} is ready and soaks for {left:.0f} s more"
    return f"pod {pod.metadata.name} is not ready{_why_not_ready(pod)}"


def _wrong_revision(run: StepRun, ds: DaemonSetRun, pods: list[Pod]) -> Pod | None:
    """Return a fresh pod that replaced the deleted one but is not of the target revision."""
    if not run.replaced_uid:
        return None
    for pod in pods:
        is_old_one = pod.metadata.uid == run.replaced_uid or pod.terminating
        if not is_old_one and not ds.is_target(pod):
            return pod
    return None


def _target_pod(run: StepRun, ds: DaemonSetRun, pods: list[Pod]) -> Pod | None:
    """Return the node's pod of the target revision, but not one that another try takes away."""
    return next((p for p in pods if _is_new(run, ds, p) and not p.terminating), None)


def _is_new(run: StepRun, ds: DaemonSetRun, pod: Pod) -> bool:
    return ds.is_target(pod) and pod.metadata.uid != run.retry_uid


def _statuses(pod: Pod) -> tuple[ContainerStatus, ...]:
    return pod.status.init_container_statuses + pod.status.container_statuses


def _fail_fast(pod: Pod, rules: HealthRules) -> ContainerStatus | None:
    for status in _statuses(pod):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in rules.fail_fast:
            return status
    return None


def _fail_fast_from(pod: Pod, rules: HealthRules) -> float:
    """Return from when on the reasons of `failFast` count."""
    created = parse_time(pod.metadata.creation_timestamp or "1970-01-01T00:00:00Z")
    return created + rules.start_grace_s


def _waiting_text(status: ContainerStatus) -> str:
    waiting = status.state.waiting
    assert waiting is not None
    return one_line(f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason)


def restart_text(pod: Pod) -> str:
    """Return which container of a pod restarts most, how often, and how it ended last."""
    status = max(_statuses(pod), key=lambda s: s.restart_count)
    last = status.last_state.terminated or status.state.terminated
    how = f", last exit code {last.exit_code} ({last.reason})" if last is not None else ""
    times = "once" if status.restart_count == 1 else f"{status.restart_count} times"
    return f"container {status.name} restarted {times}{how}"


def _terminating_text(pod: Pod, now: float) -> str:
    name = pod.metadata.name
    if pod.metadata.deletion_timestamp is None:
        return f"the old pod {name} is still there"
    finalizers = ", ".join(pod.metadata.finalizers)
    over = now - parse_time(pod.metadata.deletion_timestamp)  # already is the end of the grace
    if over < _STUCK_MARGIN_S:
        held = f", held by finalizers {finalizers}" if finalizers else ""
        return f"the old pod {name} is terminating{held}"
    what = f"finalizers {finalizers}" if finalizers else "no finalizers: the kubelet is silent"
    return (
        f"the old pod {name} is terminating: its termination is stuck, {what}, grace period over "
        f"for {format_duration(over)}"
    )


def _unschedulable(pod: Pod) -> Condition | None:
    """Return the condition in which the scheduler says that the pod fits nowhere."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition
    return None


def _why_not_ready(pod: Pod) -> str:
    for status in _statuses(pod):
        if status.state.waiting is not None and status.state.waiting.reason:
            return f" (container {status.name}: {_waiting_text(status)})"
    unscheduled = _unschedulable(pod)
    if unscheduled is not None:
        return f" ({unscheduled.reason}: {unscheduled.message})"
    return f" (phase {pod.status.phase})" if pod.status.phase else ""
