"""The way back as a plan of its own, carried out by the same engine under fewer conditions.

The template goes back to exactly what a stored revision holds, so its hash is reused and nodes
that were never touched are up to date at once (behaviour.md 2.7, 4.1). Only the touched ones are
replaced: unavailable first, then newest first, at their own pace, with no gates, no soak, no
pauses, and no failure that stops it (S10).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from rollout.errors import DocumentError, StaleError
from rollout.fleet.objects import ControllerRevision
from rollout.fleet.revisions import previous_revision, template_digest
from rollout.fleet.selecting import Selectors
from rollout.fleet.snapshot import Fleet
from rollout.notifyspec import Sink
from rollout.planner.build import Subject, build_plan
from rollout.planner.desired import Desired
from rollout.planner.nodetime import beyond_usual_s
from rollout.planner.plan import WAY_BACK, Plan
from rollout.quantity import parse_amount, parse_duration
from rollout.spec import (
    NODE_TIMEOUT_DEFAULT,
    Body,
    DaemonSetItem,
    Failure,
    Health,
    Limits,
    LoadedSpec,
    Metadata,
    NodeRules,
    Origin,
    Spec,
    Strategy,
    Target,
    WaveRule,
)

IN_FLIGHT = "33%"  # of the nodes that should run the pod
_NEVER = 1_000_000  # restarts, or flaps, that would make a pod of the old revision a failure
_FAST = 1000.0  # replacements a second: no brake


def revision_before(digest: str, fleet: Fleet) -> ControllerRevision:
    """Return the newest revision that holds the template of before the run.

    Args:
        digest: `template_digest` of that template, from the plan or the run record.
        fleet: the DaemonSet as it is now.

    Raises:
        StaleError: when the history does not hold it any more, with the revisions that there are.
    """
    for revision in reversed(fleet.revisions):
        if template_digest(revision.template) == digest:
            return revision
    raise StaleError(_gone(fleet, f"the template of before the run (digest {digest})"))


def revision_to_undo_to(fleet: Fleet, number: int | None) -> ControllerRevision:
    """Return the revision that `undo` goes back to: the numbered one, or the one before.

    Raises:
        StaleError: when there is none, with the revisions that there are.
    """
    if number is None:
        found = previous_revision(fleet.revisions, fleet.daemon_set.spec.template)
        if found is None:
            raise StaleError(_gone(fleet, "an earlier template"))
        return found
    for revision in fleet.revisions:
        if revision.revision == number:
            return revision
    raise StaleError(_gone(fleet, f"revision {number}"))


def surges_by_itself(fleet: Fleet) -> bool:
    """Whether the owner's strategy has each pod replaced by one beside it (behaviour.md 2.1)."""
    rolling = fleet.owner_strategy.get("rollingUpdate") or {}
    return bool(parse_amount(rolling.get("maxSurge", 0)).value)


def rollback_plan(
    name: str,
    fleets: Sequence[Fleet],
    targets: Mapping[str, ControllerRevision],
    server_version: str,
    now: float,
    surges: Collection[str] = (),
    unfinished: Mapping[str, frozenset[str]] = MappingProxyType({}),
    notify: tuple[Sink, ...] = (),
    selecting: Mapping[str, Selectors] = MappingProxyType({}),
) -> Plan:
    """Plan the way back.

    Args:
        name: of the rollout; the run record is found by it.
        fleets: the DaemonSets as they are now.
        targets: by DaemonSet: the revision to go back to.
        server_version: what the server calls itself.
        now: when the fleets were read, seconds since the epoch.
        surges: DaemonSets whose pods are handed over on the way back, as they were on the way on,
            or as their owner's strategy has it.
        unfinished: by DaemonSet: nodes that still have a released pod, or have no pod at work, also
            those that an earlier try at this way back has left so.
        notify: who is told of it.
        selecting: by DaemonSet that surges: what selects pods.
    """
    items = tuple(
        DaemonSetItem(
            name=fleet.daemon_set.metadata.name,
            namespace=fleet.daemon_set.metadata.namespace,
            target=Target(revision=targets[fleet.daemon_set.metadata.name].revision),
            strategy=_pace(surges=fleet.daemon_set.metadata.name in surges),
        )
        for fleet in fleets
    )
    body = Body(
        daemon_sets=items,
        nodes=NodeRules(order=("newest",)),
        waves=(WaveRule(name="back"),),
        health=_health(fleets, targets),
        failure=Failure(max_failures="100%", max_unreachable="100%", sequential_test=False),
        limits=Limits(replacements_per_second=_FAST, max_broken_zones=None),
        notify=notify,
    )
    spec = Spec("rollout/v1", "Rollout", Metadata(name), body)
    subjects = [
        Subject(
            fleet,
            Desired(
                kind=WAY_BACK,
                template=targets[fleet.daemon_set.metadata.name].template,
                strategy=fleet.owner_strategy,
                fields={},
                labels={},
                annotations={},
            ),
            selecting=selecting.get(fleet.daemon_set.metadata.name, Selectors()),
            unfinished=unfinished.get(fleet.daemon_set.metadata.name, frozenset()),
        )
        for fleet in fleets
    ]
    plan = build_plan(LoadedSpec(spec, _Nowhere(), {}, ()), subjects, server_version, now)
    assert not plan.gates, "S10: a way back waits for no gate"
    return plan


def _health(fleets: Sequence[Fleet], targets: Mapping[str, ControllerRevision]) -> Health:
    """Give each node the time that its pods may need: nothing but time makes a way back fail."""
    slowest = max(
        beyond_usual_s(fleet, targets[fleet.daemon_set.metadata.name].template) for fleet in fleets
    )
    usual = parse_duration(NODE_TIMEOUT_DEFAULT)
    return Health(
        soak=0,
        node_timeout=round(usual + slowest),
        max_restarts=_NEVER,
        fail_fast=(),
        max_flaps=_NEVER,
    )


def _pace(*, surges: bool) -> Strategy:
    if surges:
        return Strategy(max_unavailable=0, max_surge=IN_FLIGHT)
    return Strategy(max_unavailable=IN_FLIGHT)


class _Nowhere(Origin):
    """A spec that no file holds; nothing in it can be wrong."""

    def error(self, path: Sequence[str | int], message: str) -> DocumentError:
        """Return the error all the same."""
        return DocumentError(f"{'.'.join(map(str, path))}: {message}")


def _gone(fleet: Fleet, what: str) -> str:
    known = ", ".join(str(revision.revision) for revision in fleet.revisions) or "none"
    name = fleet.daemon_set.metadata.name
    return f"the history of DaemonSet {name} does not hold {what}; it holds revisions {known}"
