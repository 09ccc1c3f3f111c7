"""What was seen of the cluster, entered into the book; each event costs O(log nodes)."""

from __future__ import annotations

from collections.abc import Collection

from rollout.executor.engine import guarding, reasserting, returning, unreachable
from rollout.executor.engine.actions import ReadDaemonSet
from rollout.executor.engine.believing import disbelief
from rollout.executor.engine.book import Book
from rollout.executor.engine.state import OVER, DaemonSetRun, Phase, StepState
from rollout.fleet.objects import DaemonSet, Node, Pod, version_number
from rollout.fleet.released import taken_over
from rollout.fleet.revisions import revision_hash, template_digest

BEHIND_S = 75.0  # seconds that no server lags behind: `Timing.believed_s` of a watch
_THROUGH = (StepState.DONE, StepState.GONE, StepState.SKIPPED)  # a failed one may still get well


def pod_seen(book: Book, ds: DaemonSetRun, pod: Pod, now: float) -> None:
    """A pod of the DaemonSet was created or changed."""
    is_new = ds.listed and pod.metadata.uid not in ds.view.pods
    known = ds.view.pods.get(pod.metadata.uid)
    begins_to_go = pod.terminating and known is not None and not known.terminating
    node = ds.view.see(pod, now)
    if node is not None and begins_to_go:
        _note_others(book, ds, pod, node)
    if node is None:
        return
    if is_new and pod.metadata.uid in ds.view.pods:
        guarding.successor_seen(book, ds, node, now)
    book.node_changed(ds, node, now)


def _note_others(book: Book, ds: DaemonSetRun, pod: Pod, node: str) -> None:
    """Tell when somebody else takes an old pod away before its turn."""
    step = ds.steps.get(node)
    waits = step is not None and step.state in (StepState.BLOCKED, StepState.READY)
    if step is None or not waits or not ds.resolved or ds.is_target(pod):
        return
    step.by_others = True
    asked = book.stepping.asked
    where = "as asked for" if asked is not None and asked.node == node else "out of plan"
    message = f"{where}: it counts as done when its new pod is healthy"
    book.note("node-by-others", ds, node=node, wave=step.step.wave, message=message)


def take_pods(book: Book, ds: DaemonSetRun, pods: Collection[Pod], now: float) -> None:
    """Replace what is known of the pods by a whole list, where that can be believed."""
    doubt = _doubt_of_pods(book, ds, {pod.target_node for pod in pods})
    if doubt:
        book.stop_for_drift(doubt)
        ds.listed = True
        return
    listed = {pod.metadata.uid for pod in pods}
    for uid in [uid for uid in ds.view.pods if uid not in listed]:
        node = ds.view.forget(uid, now)
        if node is not None:
            book.node_changed(ds, node, now)
    for pod in pods:
        pod_seen(book, ds, pod, now)
    ds.listed = True


def _doubt_of_pods(book: Book, ds: DaemonSetRun, listed: set[str]) -> str:
    """Say why a list of pods is not believed; "" when it is.

    Before the first list of a run that goes on, the plan says which nodes had a pod; those in
    flight have none then through us.
    """
    what = f"the pods of DaemonSet {ds.name}, by their nodes,"
    if ds.listed:
        stay = (p for p in ds.view.pods.values() if not p.terminating)
        known = {p.target_node for p in stay if p.target_node not in ds.view.held}
        return disbelief(what, known, listed)
    known = {node.name for node in ds.planned.nodes if node.pod is not None}
    return disbelief(what, known, listed, spare=ds.planned.budget.value) if book.resumed else ""


def take_released(book: Book, ds: DaemonSetRun, pods: Collection[Pod], now: float) -> None:
    """Replace what is known of the handed-over pods by a whole list."""
    listed = {pod.metadata.uid for pod in pods}
    for node, pod in list(ds.view.released.items()):
        if pod.metadata.uid not in listed:
            release_ended(book, ds, node, pod.metadata.uid, now)
    for step in ds.steps.values():
        if step.released_uid and step.released_uid not in listed:  # it ended while nobody looked
            step.released_uid = ""
            book.node_changed(ds, step.node, now)
    for pod in pods:
        released_seen(book, ds, pod.spec.node_name, pod, now)
    ds.released_listed = True


def released_seen(book: Book, ds: DaemonSetRun, node: str, pod: Pod, now: float) -> None:
    """A pod was handed over, or a handed-over pod changed."""
    if (owner := taken_over(pod.metadata.owner_references, ds.planned.uid)) is not None:
        if ds.view.released.get(node) is not None:
            why = "its selector matches what is left of the labels of released pods"
            who = f"{owner.kind} {owner.name}"
            book.hold(f"{who} has taken over the old pod {pod.metadata.name} on {node}: {why}")
        release_ended(book, ds, node, pod.metadata.uid, now)
        return
    ds.view.see_released(node, pod, now)
    _know_again(ds, node, pod)
    book.node_changed(ds, node, now)


def _know_again(ds: DaemonSetRun, node: str, pod: Pod) -> None:
    """Let the step that handed a pod over end it, though a list from before that lacked it."""
    step = ds.steps.get(node)
    if step is None or step.state in _THROUGH or pod.terminating:
        return
    if pod.metadata.uid == step.replaced_uid:
        step.released_uid = step.replaced_uid


def release_ended(book: Book, ds: DaemonSetRun, node: str, uid: str, now: float) -> None:
    """A handed-over pod is no more, or was taken back."""
    known = ds.view.released.get(node)
    if known is not None and known.metadata.uid == uid:
        ds.view.see_released(node, None, now)
        step = ds.steps.get(node)
        if step is not None and step.released_uid == uid:
            step.released_uid = ""
        book.node_changed(ds, node, now)


def take_nodes(book: Book, nodes: Collection[Node], now: float) -> None:
    """Replace what is known of the nodes by a whole list, where that can be believed."""
    listed = {node.metadata.name for node in nodes}
    doubt = disbelief("nodes", _known_nodes(book), listed)
    if doubt:
        book.stop_for_drift(doubt)
        book.nodes_listed = True
        return
    for name in [name for name in book.nodes if name not in listed]:
        node_gone(book, name, now)
    for node in nodes:
        node_seen(book, node, now)
    for name in sorted(book.planned_nodes - listed):
        node_gone(book, name, now)
    book.nodes_listed = True


def _known_nodes(book: Book) -> set[str]:
    """Return the nodes that a list should hold: at a fresh start, that is for drift to say."""
    if book.nodes_listed:
        return set(book.nodes)
    return set(book.planned_nodes) if book.resumed else set()


def node_seen(book: Book, node: Node, now: float) -> None:
    """A node was created or changed."""
    name = node.metadata.name
    known = book.nodes.get(name)
    book.nodes[name] = node
    unreachable.note_readiness(book, node, now)
    if name in book.gone_nodes:
        returning.node_returned(book, name, now)
    elif name not in book.planned_nodes and name not in book.joined:
        returning.node_joined(book, name)
    if known is None or known.ready != node.ready:
        for ds in book.daemon_sets.values():
            book.node_changed(ds, name, now)


def node_gone(book: Book, name: str, now: float) -> None:
    """A node left the cluster: its steps are over, and it leaves the budget."""
    book.nodes.pop(name, None)
    book.unreachable.since.pop(name, None)
    book.gone_nodes.add(name)
    for ds in book.daemon_sets.values():
        ds.node_left(name)
        ds.control.note_readiness(name, ready=True)
        step = ds.steps.get(name)
        if step is not None and step.state not in OVER:
            book.end(ds, step, StepState.GONE, "the node left the cluster", now)


def daemon_set_seen(book: Book, ds: DaemonSetRun, seen: DaemonSet, now: float) -> None:
    """A DaemonSet as it is now: is it as we left it?"""
    if seen.metadata.uid != ds.planned.uid:
        ds.gone = True  # its generation begins anew: it is not to be compared with ours
        book.stop_for_drift(ds.drift(seen))
        return
    if ds.is_from_before_plan(seen):
        _doubt(book, ds, seen, now)
        return
    if ds.live is not None and _is_older(seen, ds.live):
        return
    first = ds.live is None
    ds.live = seen
    if first:
        _find_phase(book, ds, seen, now)
    if ds.phase is Phase.RESTORED:
        resolve(book, ds, now)
        return
    drift = ds.drift(seen)
    if drift:
        book.stop_for_drift(drift)
        reasserting.drifted(book, ds, seen, now)
    elif ds.is_prepared(seen):  # before that, our own patch may yet set it
        _heed_min_ready(book, ds, float(seen.spec.min_ready_seconds), now)
    resolve(book, ds, now)


def _doubt(book: Book, ds: DaemonSetRun, seen: DaemonSet, now: float) -> None:
    """A state from before the plan: a server lags, or the store was set back and stays there.

    Nothing is read into it but that. What has shown nothing newer for longer than any server lags
    is asked for itself; a read of one object is answered by the store as it is.
    """
    if ds.live is None and ds.behind is None:
        ds.behind = seen
        book.at(now + BEHIND_S, lambda _: _ask_behind(book, ds))


def _ask_behind(book: Book, ds: DaemonSetRun) -> None:
    if ds.live is None:
        book.actions.append(ReadDaemonSet(ds.name))


def stays_behind(book: Book, ds: DaemonSetRun) -> None:
    """The store itself has forgotten what the plan was made for (S9)."""
    if ds.behind is not None:
        book.stop_for_drift(
            f"{behind_text(ds, ds.behind)} and stays there: its store was restored from a backup, "
            "or another server answers under its name; look at it with "
            f"'rollout status {ds.name}', then plan anew"
        )


def behind_text(ds: DaemonSetRun, seen: DaemonSet) -> str:
    """Return how far behind the plan a DaemonSet is that the server shows, in half a sentence."""
    return (
        f"DaemonSet {ds.name} is at generation {seen.metadata.generation}, the plan was made at "
        f"{ds.planned.generation}"
    )


def _heed_min_ready(book: Book, ds: DaemonSetRun, seconds: float, now: float) -> None:
    """Go by `minReadySeconds` as it is now, as the controller does; costs O(nodes), seldom."""
    if seconds == ds.view.min_ready_s:
        return
    before, ds.view.min_ready_s = ds.view.min_ready_s, seconds
    message = f"minReadySeconds are {seconds:.0f}, no longer {before:.0f}: they count from now on"
    book.note("min-ready-changed", ds, message=message)
    for node in list(ds.view.by_node):
        ds.view.reassess(node, now)
        book.node_changed(ds, node, now)


def daemon_set_gone(book: Book, ds: DaemonSetRun, *, is_certain: bool) -> None:
    """A DaemonSet is not there any more, or a list lacks it: then what is in flight is watched."""
    ds.gone = ds.gone or is_certain
    lacks = "is not listed any more: it was deleted, or the list lacks it"
    book.stop_for_drift(f"DaemonSet {ds.name} {'was deleted' if is_certain else lacks}")


def _is_older(seen: DaemonSet, known: DaemonSet) -> bool:
    """Whether news is older than what is known: the answer to a patch can come behind the watch."""
    new, old = seen.metadata, known.metadata
    versions = version_number(new.resource_version), version_number(old.resource_version)
    return new.generation < old.generation or (all(versions) and versions[0] < versions[1])


def _find_phase(book: Book, ds: DaemonSetRun, seen: DaemonSet, now: float) -> None:
    """See at the first look whether an earlier process of this run has patched already."""
    prepare = book.steps.get(f"prepare/{ds.name}")
    if book.resumed and ds.is_restored(seen) and not ds.is_prepared(seen):
        ds.phase = Phase.RESTORED
        ds.generation = seen.metadata.generation
        if prepare is not None and prepare.state is StepState.READY:
            book.finish_step(prepare, now)
    elif prepare is not None and ds.is_prepared(seen):
        ds.phase = Phase.OBSERVING
        ds.generation = seen.metadata.generation


def resolve(book: Book, ds: DaemonSetRun, now: float) -> None:
    """Learn the target revision once the controller has observed our template.

    Source: behaviour.md 3.3, "correct external procedure".
    """
    if ds.live is None or ds.resolved:
        return
    if ds.phase is Phase.PREPARING:
        return
    if ds.phase is Phase.UNTOUCHED and f"prepare/{ds.name}" in book.steps:
        return
    if ds.live.metadata.generation < ds.generation:
        return
    if ds.live.status.observed_generation < ds.live.metadata.generation:
        return
    target = ds.planned.target.template_digest
    if template_digest(ds.live.spec.template) != target or not ds.revisions:
        return
    current = ds.revisions[-1]
    if template_digest(current.template) != target:
        return
    ds.target_hash = revision_hash(current)
    ds.target_generation = ds.live.template_generation
    ds.resolved = True
    if ds.phase is Phase.OBSERVING:
        ds.phase = Phase.OPEN
        book.note("prepared", ds, message=f"revision {current.revision} is the target")
        prepare = book.steps[f"prepare/{ds.name}"]
        if prepare.state is StepState.READY:
            book.finish_step(prepare, now)
