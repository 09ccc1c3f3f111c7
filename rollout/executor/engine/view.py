"""What one DaemonSet's pods are right now, kept up to date event by event.

Answers two questions in O(1): which pods does a node have, and how many nodes of the budget have
no available pod. Availability is judged by our own clock from the moment we saw the pod become
ready (or, for pods that were ready before we looked, from the time in their condition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rollout.fleet.objects import Pod, parse_time, version_number


class PodView:
    """The pods of one DaemonSet, by UID and by node.

    Args:
        uid: UID of the DaemonSet; pods of other owners are not seen.
        budget_nodes: nodes that count as unavailable when they have no available pod.
        min_ready_s: `spec.minReadySeconds`.
        wake: called with (time, node) when availability must be looked at again.
        zones: node -> its zone.
        surges: the budget is one of nodes with two pods, not only of unavailable ones.
    """

    def __init__(
        self,
        uid: str,
        budget_nodes: Iterable[str],
        min_ready_s: float,
        wake: Callable[[float, str], None],
        zones: Mapping[str, str],
        *,
        surges: bool = False,
    ) -> None:
        self.uid = uid
        self.pods: dict[str, Pod] = {}
        self.by_node: dict[str, dict[str, Pod]] = {}
        self.budget_nodes = set(budget_nodes)
        self.min_ready_s = min_ready_s
        self.unavailable = set(self.budget_nodes)  # no available pod
        self.held: set[str] = set()  # a step holds a slot
        self.doubled: set[str] = set()  # our hand-over failed: both pods are there
        self.used = set(self.budget_nodes)  # any of the three: what the budget is charged
        self.ready_since: dict[str, float] = {}
        self.flaps: dict[str, int] = {}  # UID -> how often it stopped being ready
        self.broken_zones: dict[str, set[str]] = {}  # zone -> nodes unavailable, not through us
        self._zones = zones
        self._surges = surges
        self._blamed: set[str] = set()  # nodes on which our step failed
        self.released: dict[str, Pod] = {}  # by node: old pods that were handed over
        self._left: set[str] = set()  # nodes that left the cluster, of those in the budget
        self._gone: dict[str, int] = {}  # UID -> version at which it left our sight
        self._wake = wake

    def see(self, pod: Pod, now: float) -> str | None:
        """Take in a pod; returns the node whose state may have changed, or None for old news."""
        uid = pod.metadata.uid
        if uid in self._gone and version_number(pod.metadata.resource_version) <= self._gone[uid]:
            return None
        known = self.pods.get(uid)
        if known is not None and _is_older(pod, known):
            return None
        if pod.metadata.controller_uid != self.uid:
            return self.forget(uid, now, pod.metadata.resource_version)
        node = pod.target_node
        if not node:
            return None
        self.pods[uid] = pod
        self.by_node.setdefault(node, {})[uid] = pod
        if known is not None and known.ready and _was_down(pod, known):
            self.flaps[uid] = self.flaps.get(uid, 0) + 1
            self.ready_since.pop(uid, None)
        if not pod.ready:
            self.ready_since.pop(uid, None)
        elif uid not in self.ready_since:
            self.ready_since[uid] = now if known is not None else _ready_time(pod, now)
        self.reassess(node, now)
        return node

    def forget(self, uid: str, now: float, version: str = "") -> str | None:
        """Drop a pod that was deleted or released; only newer news of it can bring it back.

        Args:
            uid: of the pod.
            now: seconds, by the clock of the run.
            version: its resource version when it left; "" when that is not known.

        Returns:
            Its node, or None when it was not known.
        """
        pod = self.pods.pop(uid, None)
        known = version_number(pod.metadata.resource_version) if pod is not None else 0
        self._gone[uid] = max(version_number(version), known, self._gone.get(uid, 0))
        if pod is None:
            return None
        self.ready_since.pop(uid, None)
        self.flaps.pop(uid, None)
        node = pod.target_node
        pods = self.by_node[node]
        del pods[uid]
        if not pods:
            del self.by_node[node]
        self.reassess(node, now)
        return node

    def on(self, node: str) -> list[Pod]:
        """Return the node's pods, without those that are both terminal and terminating."""
        pods = self.by_node.get(node, {}).values()
        return [pod for pod in pods if not (pod.terminating and pod.terminal)]

    def drop_node(self, node: str) -> None:
        """Take a node that left the cluster out of the budget."""
        if node in self.budget_nodes:
            self.budget_nodes.discard(node)
            self._left.add(node)
        self.unavailable.discard(node)
        self.doubled.discard(node)
        self.used.discard(node)
        self._count_zone(node)

    def take_node_back(self, node: str, now: float) -> None:
        """Count a node in the budget again that left the cluster and is back with its pod."""
        if node in self._left:
            self._left.discard(node)
            self.budget_nodes.add(node)
            self.reassess(node, now)

    def hold(self, node: str) -> None:
        """Charge the budget for a node whose step starts."""
        self.held.add(node)
        self.used.add(node)
        self._count_zone(node)

    def release(self, node: str, *, failed: bool) -> None:
        """Stop charging for the step; an unavailable node goes on to count, and so does a surge.

        Args:
            node: of the step.
            failed: the step failed: that the node is unavailable, or has two pods, is through us.
        """
        self.held.discard(node)
        if failed and node in self.unavailable:
            self._blamed.add(node)
        if failed and self._surges and node in self.budget_nodes and self._is_handed_over(node):
            self.doubled.add(node)
        self._charge(node)
        self._count_zone(node)

    def _charge(self, node: str) -> None:
        """Charge the budget for a node that no step holds, or stop that."""
        if node in self.unavailable or node in self.doubled or node in self.held:
            self.used.add(node)
        else:
            self.used.discard(node)

    def _count_zone(self, node: str) -> None:
        """Keep the zones in which nodes are unavailable for other reasons than our steps."""
        zone = self._zones.get(node, "")
        ours = node in self.held or node in self._blamed
        if zone and node in self.unavailable and not ours:
            self.broken_zones.setdefault(zone, set()).add(node)
        elif node in self.broken_zones.get(zone, ()):
            self.broken_zones[zone].discard(node)
            if not self.broken_zones[zone]:
                del self.broken_zones[zone]

    def is_available(self, pod: Pod, now: float) -> bool:
        """Whether the pod is ready for `minReadySeconds` and stays (behaviour.md 2.2)."""
        since = self.ready_since.get(pod.metadata.uid)
        return since is not None and not pod.terminating and now >= since + self.min_ready_s

    def see_released(self, node: str, pod: Pod | None, now: float) -> None:
        """Take in the released pod of a node, which goes on working beside its successor."""
        known = self.released.get(node)
        if pod is None:
            self.released.pop(node, None)
        elif pod.terminating and known is not None and not known.terminating:
            if known.metadata.uid == pod.metadata.uid:
                self.released[node] = pod  # else: one of before, whose end changes nothing
        else:
            self.released[node] = pod
        if node in self.doubled and not self._is_handed_over(node):
            self.doubled.discard(node)
            self._charge(node)
        self.reassess(node, now)

    def _is_handed_over(self, node: str) -> bool:
        pod = self.released.get(node)
        return pod is not None and not pod.terminating

    def _still_served(self, node: str) -> bool:
        return self._is_handed_over(node) and self.released[node].ready

    def reassess(self, node: str, now: float) -> None:
        """Work out anew whether the node has an available pod."""
        if node not in self.budget_nodes:
            return
        pods = self.by_node.get(node, {}).values()
        if any(self.is_available(pod, now) for pod in pods) or self._still_served(node):
            self.unavailable.discard(node)
            self._blamed.discard(node)
            self._charge(node)
            self._count_zone(node)
            return
        self.unavailable.add(node)
        self._charge(node)
        self._count_zone(node)
        for pod in pods:
            since = self.ready_since.get(pod.metadata.uid)
            if since is not None and not pod.terminating:
                self._wake(since + self.min_ready_s, node)


def _was_down(pod: Pod, known: Pod) -> bool:
    """Whether a pod that was ready is not, or was not for a moment that no event told of.

    A watch may skip states, and two lists see nothing between them; but each restart has its
    number, each container its id, and each change of the condition its time.
    """
    if not pod.ready or pod.restarts != known.restarts:
        return True
    new, old = pod.ready_condition, known.ready_condition
    assert new is not None
    assert old is not None
    return new.last_transition_time != old.last_transition_time or (
        pod.container_ids != known.container_ids
    )


def _ready_time(pod: Pod, now: float) -> float:
    """When a pod that we meet for the first time became ready; never in the future."""
    condition = pod.ready_condition
    since = condition.last_transition_time if condition else None
    return min(now, parse_time(since)) if since else now


def _is_older(pod: Pod, known: Pod) -> bool:
    """Whether news is older than what is known (a lagging watch); unreadable versions are not."""
    new, old = (
        version_number(pod.metadata.resource_version),
        version_number(known.metadata.resource_version),
    )
    return bool(new and old) and new < old
