"""From a spec file and a cluster to a plan: what `plan` and `apply -f` share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rollout.cluster.client import Client, PatchKind
from rollout.cluster.connect import IN_CLUSTER
from rollout.cluster.fleet import (
    CORE,
    daemon_set_path,
    read_cluster_uid,
    read_fleet,
    read_nodes,
    read_released,
    read_selecting,
)
from rollout.cluster.identity import identity
from rollout.cluster.paths import resource_path
from rollout.cluster.release import read_release
from rollout.errors import Forbidden, NotFound, Rejected, UsageError
from rollout.executor.oldtemplates import kept_earlier
from rollout.executor.record.earlier import is_unproven, template_before
from rollout.executor.runs import (
    FoundRecord,
    past_runs,
    read_known_records,
    recorded_strategy,
)
from rollout.fleet.objects import Node, Pod, format_time
from rollout.fleet.revisions import template_digest
from rollout.fleet.selecting import Selectors
from rollout.fleet.snapshot import Fleet
from rollout.memory import nothing_to_collect
from rollout.planner.budget import update_limits
from rollout.planner.build import Subject, build_plan
from rollout.planner.desired import Desired, desired_state
from rollout.planner.fates import unproven
from rollout.planner.plan import Plan
from rollout.spec import DaemonSetItem, LoadedSpec
from rollout.specfile import load_spec, with_waves


def read_spec(spec: Path, waves: str | None) -> LoadedSpec:
    """Read the spec; what is wrong in it by itself shows without a cluster.

    Args:
        spec: the spec file; `-` for standard input.
        waves: in place of the spec's: a profile, or sizes such as `1,10%,100%`; or None.

    Raises:
        DocumentError: when the spec is wrong.
    """
    loaded = load_spec(spec)
    return loaded if waves is None else with_waves(loaded, waves)


@nothing_to_collect()
def make_plan(
    client: Client, loaded: LoadedSpec, namespace: str | None, valid_for_s: float | None = None
) -> Plan:
    """Read the fleet, and plan; nothing is written.

    Args:
        client: of the cluster.
        loaded: the spec.
        namespace: what the user gave with `-n`, or None.
        valid_for_s: how long a run of it may begin, in seconds; None: for ever.

    Raises:
        DocumentError: when the spec does not fit the cluster.
        ClusterError: when the cluster cannot be read.
    """
    version = read_release(client)
    cluster_uid = read_cluster_uid(client)
    nodes = read_nodes(client)
    now = client.server_time() if valid_for_s is None else client.told_time()
    subjects = []
    records: list[FoundRecord] | None = None
    for index, item in enumerate(loaded.spec.spec.daemon_sets):
        where = _namespace(item, loaded.spec.metadata.namespace, namespace, client)
        fleet = _fleet(client, loaded, index, where, cluster_uid, nodes)
        records = read_known_records(client, where) if records is None else records
        before_run = recorded_strategy(fleet.daemon_set.metadata.uid, records)
        fleet = replace(fleet, recorded_strategy=before_run)
        desired = desired_state(loaded, index, item, fleet, format_time(now))
        surges = update_limits(item, fleet, len(nodes)).max_surge.value
        selecting = read_selecting(client, where) if surges else Selectors()
        released = tuple(read_released(client, where, fleet.daemon_set.metadata.uid))
        completed = _completed(client, loaded, index, where, desired)
        runs = past_runs(records)
        live = fleet.daemon_set
        digest = template_digest(live.spec.template)
        led_from = template_before(live.metadata.uid, digest, runs)
        rules, watched = loaded.spec.spec.nodes, frozenset[str]()
        if is_unproven(live.metadata.uid, digest, runs):
            watched = unproven(fleet, completed.template, rules, now)
        kept = _kept(client, fleet, led_from, records)
        subjects.append(Subject(fleet, completed, selecting, released, watched, led_from, kept))
    return build_plan(
        *(loaded, subjects, version, now),
        own_node=_own_node(client),
        author=identity(client),
        valid_for_s=valid_for_s,
    )


def _fleet(
    client: Client,
    loaded: LoadedSpec,
    index: int,
    namespace: str,
    cluster_uid: str,
    nodes: Sequence[Node],
) -> Fleet:
    """Read the fleet of the spec's DaemonSet; one that there is not is shown in the spec."""
    name = loaded.spec.spec.daemon_sets[index].name
    try:
        return read_fleet(client, namespace, name, cluster_uid=cluster_uid, nodes=nodes)
    except NotFound as error:
        where = loaded.error(("daemonSets", index, "name"), str(error))
        raise NotFound(str(where)) from None


def _kept(
    client: Client, fleet: Fleet, digest: str, records: Sequence[FoundRecord]
) -> frozenset[str]:
    """Return the digest, where the history has lost its template and an earlier run keeps it."""
    if not digest or any(template_digest(item.template) == digest for item in fleet.revisions):
        return frozenset()
    try:
        kept = kept_earlier(client, fleet.daemon_set.metadata.uid, digest, records)
    except Forbidden:
        return frozenset()
    return frozenset() if kept is None else frozenset({digest})


def _own_node(client: Client) -> str:
    """Return the node that we run on, when we run in this cluster ourselves."""
    pod_name = os.environ.get("HOSTNAME", "")
    if client.context != IN_CLUSTER or not pod_name:
        return ""
    path = resource_path(CORE, "pods", namespace=client.namespace, name=pod_name)
    try:
        pod = client.get_or_none(path, Pod)
    except Forbidden:
        return ""
    return pod.spec.node_name if pod is not None else ""


def _namespace(item: DaemonSetItem, of_spec: str, given: str | None, client: Client) -> str:
    """Choose as kubectl does: what the document says holds, and `-n` must not contradict it."""
    said = item.namespace or of_spec
    if said and given and said != given:
        raise UsageError(
            f"the spec puts DaemonSet {item.name} into namespace '{said}', but -n says '{given}'; "
            "leave one of them out"
        )
    return said or client.namespace


def _completed(
    client: Client, loaded: LoadedSpec, index: int, namespace: str, desired: Desired
) -> Desired:
    """Let the server fill in its defaults by a dry run, where we may ask for one.

    Raises:
        DocumentError: when the server calls what shall become of it wrong.
    """
    if desired.kind in ("live", "revision"):
        return desired
    path = daemon_set_path(namespace, loaded.spec.spec.daemon_sets[index].name)
    try:
        answer = client.patch(path, desired.patch(), PatchKind.STRATEGIC, dict, dry_run=True)
    except Forbidden:
        return desired
    except Rejected as error:
        at = ("daemonSets", index, "target", desired.kind)
        raise loaded.error(at, f"the API server refuses it: {error}") from None
    return desired.with_defaults_of(answer)
