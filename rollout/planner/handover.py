"""Surge by hand-over: which label releases an old pod, where it can't work, and who is affected.

OnDelete never makes a second pod on a node. Changing a selector label of the old pod releases it:
the controller at once creates the new pod beside it (behaviour.md 8.3). That needs a label whose
absence breaks the selector, and a node on which two of the pods fit side by side. Nobody controls
a released pod: another controller whose selector matches what is left of its labels would adopt it,
and might end it as one too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.fleet import marks
from rollout.fleet.objects import JsonObject, LabelSelector
from rollout.fleet.selecting import ADOPTING, Selecting


@dataclass(frozen=True, slots=True)
class Release:
    """How old pods are released: this label is taken away from them."""

    label: str
    value: str
    affected: tuple[str, ...]  # `Service log-agent`: objects that select the label
    adopters: tuple[str, ...] = ()  # `ReplicaSet x`: controllers that would take the pods over
    counting: tuple[str, ...] = ()  # StatefulSets that select them, and take over by name only


def refusal(template: JsonObject) -> str:
    """Say why two pods of the template don't fit on one node; "" when they do."""
    spec = template.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for container in containers:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                return (
                    f"container {container['name']} takes hostPort {port['hostPort']}, which two "
                    "pods on one node cannot both have"
                )
            if spec.get("hostNetwork"):
                return (
                    f"the pod uses hostNetwork, and container {container['name']} takes port "
                    f"{port.get('containerPort')}, which two pods on one node cannot both have"
                )
    return ""


def choose_release(
    selector: LabelSelector, labels: Mapping[str, str], others: Sequence[Selecting]
) -> Release | None:
    """Choose the label to take away: one that the selector needs and the fewest others use.

    One behind which other controllers take the pods over is the last choice.

    Args:
        selector: of the DaemonSet.
        labels: of its pod template.
        others: what selects pods in its namespace.

    Returns:
        None when taking a label away never breaks the selector.
    """
    needed = {
        *selector.match_labels,
        *(str(e["key"]) for e in selector.match_expressions if e["operator"] in ("In", "Exists")),
    }
    choices = [_release(key, labels, others) for key in sorted(needed) if key in labels]
    return min(choices, key=_harm, default=None)


def _harm(release: Release) -> tuple[int, int, str]:
    feel_it = len(release.affected) + len(release.counting)
    return len(release.adopters), feel_it, release.label


def _release(key: str, labels: Mapping[str, str], others: Iterable[Selecting]) -> Release:
    left = {name: value for name, value in labels.items() if name != key}
    left |= dict.fromkeys((marks.RELEASED_FROM, marks.RUN), "")
    affected: list[str] = []
    adopters: list[str] = []
    counting: list[str] = []
    for other in others:
        name = f"{other.kind} {other.name}"
        if other.is_controller:
            if other.selects(left):
                (adopters if other.kind in ADOPTING else counting).append(name)
        elif key in other.keys and other.selects(labels):
            affected.append(name)
    return Release(key, labels[key], tuple(affected), tuple(adopters), tuple(counting))
