"""The templates that a run may have to go back to, kept by ourselves.

The controller forgets a revision as soon as no pod is of it and `revisionHistoryLimit` is used up
(behaviour.md 4.3); with a limit of 0 that is when the last node is replaced. A run keeps them in
its store, and one that follows a run which was left half-way takes over what that one has kept.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_daemon_set, read_revisions
from rollout.errors import NotFound, StaleError
from rollout.executor.record.earlier import template_before
from rollout.executor.record.history import PastRun, RunSubject
from rollout.executor.record.planstore import read_kept_template
from rollout.executor.runs import FoundRecord, past_runs, read_records_widely
from rollout.fleet.objects import ControllerRevision, JsonObject, Meta
from rollout.fleet.revisions import template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan, PlannedDaemonSet
from rollout.planner.rollback import revision_before


@dataclass(frozen=True, slots=True)
class OldTemplate:
    """What a rollback goes back to, and what holds it."""

    template: JsonObject
    holder: str  # behind "to"
    kept: bool = False  # by an earlier run: no history that is cut takes it away


Templates = dict[str, OldTemplate]  # by `template_digest`


def old_templates(client: Client, plan: Plan) -> Templates:
    """Return what a rollback of the plan would go back to, as far as the cluster holds it.

    Raises:
        ClusterError: when the cluster cannot be read.
    """
    found: Templates = {}
    for ds in plan.daemon_sets:
        old = _old_template(client, plan.namespace, ds)
        if old is not None:
            found[ds.stable.template_digest] = old
    return found


def _old_template(client: Client, namespace: str, ds: PlannedDaemonSet) -> OldTemplate | None:
    live, _ = read_daemon_set(client, ds.namespace, ds.name)
    wanted = ds.stable.template_digest
    if template_digest(live.spec.template) == wanted:
        return OldTemplate(live.spec.template, "the template of now, which the run keeps")
    for item in read_revisions(client, live):
        if template_digest(item.template) == wanted:
            return OldTemplate(item.template, f"revision {item.revision}")
    records = read_records_widely(client, namespace)
    template = kept_earlier(client, ds.uid, wanted, records)
    if template is None:
        return None
    return OldTemplate(template, "the template that an earlier run keeps", kept=True)


def kept_earlier(
    client: Client, uid: str, digest: str, records: Iterable[FoundRecord]
) -> JsonObject | None:
    """Return a template that a run has led from, where that run still keeps it.

    Args:
        client: of the cluster.
        uid: of the DaemonSet.
        digest: `template_digest` of the template.
        records: all records that are known.

    Raises:
        ClusterError: when the cluster cannot be read.
    """
    for found in records:
        subjects = (ds for run in past_runs([found]) for ds in run.daemon_sets)
        if any((ds.uid, ds.previous_digest) == (uid, digest) for ds in subjects):
            template = read_kept_template(client, found.namespace, found.name, digest)
            if template is not None:
                return template
    return None


def needed_digest(
    client: Client, subject: RunSubject, digests: Container[str], runs: Iterable[PastRun]
) -> str:
    """Return the digest of a kept template that the next plan leads back to.

    Args:
        client: of the cluster.
        subject: the part of a run that led from the template.
        digests: of the templates that its store holds.
        runs: all runs that are known.

    Returns:
        "" when none is, or when the history of the DaemonSet holds it as well, and for long.

    Raises:
        ClusterError: when the cluster cannot be read.
    """
    digest = subject.previous_digest
    if digest not in digests:
        return ""
    try:
        live, _ = read_daemon_set(client, subject.namespace, subject.name)
    except NotFound:
        return ""
    now = template_digest(live.spec.template)
    uid = live.metadata.uid
    if uid != subject.uid or template_before(uid, now, runs) != digest:
        return ""
    held = {template_digest(item.template) for item in read_revisions(client, live)}
    return "" if digest in held and live.spec.revision_history_limit else digest


def require_way_back(client: Client, plan: Plan) -> None:
    """Refuse a plan whose rollback has lost its aim since: a new plan says what is left.

    Args:
        client: of the cluster.
        plan: that shall begin.

    Raises:
        StaleError: names the DaemonSets; nothing was written.
        ClusterError: when the cluster cannot be read.
    """
    # What is live is kept when the run begins; where the target is, the plan said that none is.
    apart = [
        ds
        for ds in plan.daemon_sets
        if ds.stable.template_digest not in (ds.current.template_digest, ds.target.template_digest)
    ]
    if plan.goes_back or not apart:
        return
    held = old_templates(client, plan)
    lost = [ds for ds in apart if ds.stable.template_digest not in held]
    if lost:
        names = ", ".join(f"{ds.key}, digest {ds.stable.template_digest}" for ds in lost)
        raise StaleError(
            f"nothing holds the template that a rollback leads to any more (DaemonSet {names}); "
            "make a new plan, which says where a rollback leads now; nothing was changed"
        )


def revision_to_go_to(
    client: Client, namespace: str, rollout: str, digest: str, fleet: Fleet
) -> ControllerRevision:
    """Return the revision that a rollback goes back to: the controller's, or what a run has kept.

    It looks wherever `old_templates` does: what the plan and `verify` count on must be found. The
    run's own store is asked by its name first, and may be missing: a run that cannot write it goes
    on all the same.

    Args:
        client: of the cluster.
        namespace: of the run's record.
        rollout: name of the rollout.
        digest: `template_digest` of the template.
        fleet: the DaemonSet as it is now.

    Raises:
        StaleError: when neither holds it, with the revisions that there are.
        ClusterError: when the cluster cannot be read.
    """
    try:
        return revision_before(digest, fleet)
    except StaleError:
        template = read_kept_template(client, namespace, rollout, digest)
        if template is None:
            records = read_records_widely(client, namespace)
            template = kept_earlier(client, fleet.daemon_set.metadata.uid, digest, records)
        if template is None:
            raise
        return ControllerRevision(Meta(name=""), 0, {"spec": {"template": template}})
