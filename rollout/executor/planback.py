"""The plan of a way back, from what is there now: an old state of the cluster must not pass for it.

A way back that finds nothing to do says that all is as it was before the run. So it goes by no read
that could come from a cache or a server that lags: the DaemonSet is read through its store, by a
write that changes nothing, and pods that the run itself has taken away must be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_fleet, read_nodes, read_released, read_selecting
from rollout.errors import StaleError, Unreachable
from rollout.executor.oldtemplates import revision_to_go_to
from rollout.executor.record.record import RecordedDaemonSet
from rollout.executor.result import Result
from rollout.executor.session import Session
from rollout.fleet.objects import ControllerRevision, Node
from rollout.fleet.released import ReleasedPod
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan
from rollout.planner.rollback import rollback_plan

AGAIN_S = 1.0  # between two looks at a cluster that shows an old state
_LOOKS = 15

Gone = Mapping[str, Collection[str]]  # DaemonSet -> UIDs of pods that the run took away
NOTHING: Gone = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WayBack:
    """A way back, and what it was planned by: by name of the DaemonSet."""

    plan: Plan
    fleets: Mapping[str, Fleet]
    released: Mapping[str, Sequence[ReleasedPod]]
    read_at: float  # seconds since the epoch, by the server's clock


def plan_back(
    client: Client,
    session: Session,
    gone: Gone,
    rest: Callable[[float], bool],
) -> WayBack:
    """Look at the cluster, and plan the way back of a run.

    Args:
        client: of the cluster.
        session: of the run.
        gone: pods that serve the DaemonSets no longer, as this process knows.
        rest: waits so many seconds; returns True, at once, when somebody wants us to stop.

    Raises:
        StaleError: when a DaemonSet is another one, or its history does not hold the old template.
        Unreachable: when the cluster goes on showing an old state.
        ClusterError: when the cluster cannot be read.
    """
    nodes = _nodes(client, rest)
    found = {
        ds.name: _found(client, session, ds, nodes, gone.get(ds.name, ()), rest)
        for ds in session.record.daemon_sets
    }
    surging = [ds for ds in session.record.daemon_sets if ds.surges]
    fleets = {name: one.fleet for name, one in found.items()}
    now = client.server_time()
    plan = rollback_plan(
        session.record.name,
        list(fleets.values()),
        {name: one.target for name, one in found.items()},
        client.server_version()[2],
        now,
        [ds.name for ds in surging],
        {name: one.unfinished for name, one in found.items()},
        selecting={ds.name: read_selecting(client, ds.namespace) for ds in surging},
    )
    return WayBack(plan, fleets, {name: one.released for name, one in found.items()}, now)


@dataclass(frozen=True, slots=True)
class _Found:
    """What there is of one DaemonSet, and where it goes back to."""

    fleet: Fleet
    target: ControllerRevision
    released: Sequence[ReleasedPod]

    @property
    def unfinished(self) -> frozenset[str]:
        """The nodes that an earlier process has left half-way."""
        return _in_flight(self.fleet) | {pod.node for pod in self.released}


def _found(
    client: Client,
    session: Session,
    ds: RecordedDaemonSet,
    nodes: Sequence[Node],
    gone: Collection[str],
    rest: Callable[[float], bool],
) -> _Found:
    """Read one DaemonSet; raises `StaleError` where it is another one, or has nowhere to go to."""
    fleet = _caught_up(client, session, ds, nodes, gone, rest)
    if fleet.daemon_set.metadata.uid != ds.uid:
        raise StaleError(
            f"DaemonSet {ds.namespace}/{ds.name} was recreated during the run; it is left alone"
        )
    where, name = session.keeper.namespace, session.record.name
    target = revision_to_go_to(client, where, name, ds.previous_digest, fleet)
    if ds.previous_digest == ds.target_digest and (_is_mixed(fleet) or _is_ill(fleet)):
        raise StaleError(
            f"DaemonSet {ds.namespace}/{ds.name}: nothing tells which template its nodes had "
            "before the run, whose target was there already; 'rollout undo "
            f"{ds.name} -n {ds.namespace} --to-revision N' goes to one that you name"
        )
    released = read_released(client, ds.namespace, ds.uid)
    return _Found(replace(fleet, recorded_strategy=ds.original_strategy), target, released)


def _caught_up(
    client: Client,
    session: Session,
    ds: RecordedDaemonSet,
    nodes: Sequence[Node],
    gone: Collection[str],
    rest: Callable[[float], bool],
) -> Fleet:
    """Read a fleet that shows no old state; raises `Unreachable` where the server goes on so."""
    for _ in range(_LOOKS):
        fleet = read_fleet(
            client,
            ds.namespace,
            ds.name,
            cluster_uid=session.cluster_uid,
            nodes=nodes,
            from_store=True,
        )
        if not nodes and fleet.pods:
            raise Unreachable(
                f"{client.server} lists no node, although pods of DaemonSet {ds.name} are "
                "there; 'rollout rollback' goes on when it lists them"
            )
        if not _still_there(fleet, gone):
            return fleet
        if rest(AGAIN_S):
            break
    raise Unreachable(
        f"{client.server} goes on listing pods of DaemonSet {ds.name} that were deleted; try "
        "again when it has caught up: 'rollout rollback' goes on"
    )


def _nodes(client: Client, rest: Callable[[float], bool]) -> list[Node]:
    """Read the nodes; a list without any is not believed at once (faults.md 13)."""
    nodes = read_nodes(client)
    for _ in range(_LOOKS):
        if nodes or rest(AGAIN_S):
            break
        nodes = read_nodes(client)
    return nodes


def _is_mixed(fleet: Fleet) -> bool:
    """Whether some nodes are not on the current revision: going "back" to it would replace them."""
    return not all(any(map(fleet.is_current, pods)) for pods in fleet.pods.values())


def _is_ill(fleet: Fleet) -> bool:
    """Whether no pod is ready: nobody goes "back" to a template that is well nowhere."""
    pods = [pod for group in fleet.pods.values() for pod in group]
    return bool(pods) and not any(pod.ready for pod in pods)


def _in_flight(fleet: Fleet) -> frozenset[str]:
    """Return the nodes that a process before has left in flight: they are watched on the way back.

    Else another DaemonSet's pod could be taken from a node whose own pod is still on its way, and
    the way back would not wait for pods that are to come. On a node that is down nothing ends and
    nothing comes: a way back that waited for it would never be complete (L2).
    """
    pods = fleet.pods
    return frozenset(
        name
        for name, node in fleet.nodes.items()
        if node.ready and all(pod.terminating for pod in pods.get(name, ()))
    )


def taken_away(result: Result) -> Gone:
    """Return the pods that a run has taken away, by what it knows itself."""
    gone: dict[str, set[str]] = {}
    for run in result.steps:
        if run.replaced_uid:
            gone.setdefault(run.step.daemon_set, set()).add(run.replaced_uid)
    return gone


def _still_there(fleet: Fleet, gone: Collection[str]) -> bool:
    """Whether the snapshot shows pods at work that were taken away before it was made."""
    return any(
        pod.metadata.uid in gone and not pod.terminating
        for pods in fleet.pods.values()
        for pod in pods
    )
