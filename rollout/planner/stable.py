"""Where a rollback leads: to what the nodes have proved, never to a half-way release. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from rollout.fleet.objects import JsonObject
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.snapshot import Fleet


def stable_digest(
    fleet: Fleet, target: JsonObject, led_from: str = "", kept: Collection[str] = ()
) -> str:
    """Return the `template_digest` of the template that a rollback of the plan goes back to.

    That is the live one, unless nothing speaks for it: an earlier run has not brought it to its
    end, or it is the target itself, or it is on no node. Then going back to it would spread a
    release that nobody has seen well, and the template of most nodes is what there was before.

    Args:
        fleet: the DaemonSet as it is now.
        target: the template that the plan leads to.
        led_from: digest of the template that an unfinished run to the live one came from; "" when
            there is no such run.
        kept: digests of templates that the history has lost, and an earlier run has kept.
    """
    live, aim = template_digest(fleet.daemon_set.spec.template), template_digest(target)
    numbers = {template_digest(item.template): item.revision for item in fleet.revisions}
    if led_from != aim and (led_from in numbers or led_from in kept):
        return led_from
    counts = _pods_by_template(fleet)
    if live != aim and not led_from and (counts[live] or not counts):
        return live
    others = [digest for digest in counts if digest != aim]
    return max(others, key=lambda digest: (counts[digest], numbers[digest]), default=live)


def _pods_by_template(fleet: Fleet) -> Counter[str]:
    """Count the pods of each template that the history holds."""
    digests = {revision_hash(item): template_digest(item.template) for item in fleet.revisions}
    pods = [pod for group in fleet.pods.values() for pod in group if not pod.terminating]
    found = (fleet.current if fleet.is_current(pod) else fleet.revision_of(pod) for pod in pods)
    return Counter(digests[revision_hash(item)] for item in found if item is not None)
