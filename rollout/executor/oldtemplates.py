"""The templates that a run may have to go back to, kept by ourselves.

The controller forgets a revision as soon as no pod is of it and `revisionHistoryLimit` is used up
(behaviour.md 4.3); with a limit of 0 that is when the last node is replaced.
"""

from __future__ import annotations

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_daemon_set, read_revisions
from rollout.errors import StaleError
from rollout.executor.planstore import read_kept_template
from rollout.fleet.objects import ControllerRevision, JsonObject, Meta
from rollout.fleet.revisions import template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan
from rollout.planner.rollback import revision_before

Templates = dict[str, JsonObject]  # by `template_digest`


def old_templates(client: Client, plan: Plan) -> Templates:
    """Return what a rollback of the plan would go back to, as far as the cluster holds it.

    Raises:
        ClusterError: when the cluster cannot be read.
    """
    found: Templates = {}
    for ds in plan.daemon_sets:
        live, _ = read_daemon_set(client, ds.namespace, ds.name)
        known = [live.spec.template]
        if template_digest(live.spec.template) != ds.stable.template_digest:
            known = [item.template for item in read_revisions(client, live)]
        found |= {digest: t for t in known if (digest := template_digest(t))}
    wanted = {ds.stable.template_digest for ds in plan.daemon_sets}
    return {digest: found[digest] for digest in sorted(wanted & found.keys())}


def revision_to_go_to(
    client: Client, namespace: str, rollout: str, digest: str, fleet: Fleet
) -> ControllerRevision:
    """Return the revision that a rollback goes back to: the controller's, or what we have kept.

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
            raise
        return ControllerRevision(Meta(name=""), 0, {"spec": {"template": template}})
