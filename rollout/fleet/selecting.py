"""Objects that select pods by labels and feel it when a pod's labels change.

A controller among them adopts a pod that its selector matches and that nobody controls. A
StatefulSet does so only with pods that bear its own name and a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.fleet.objects import LabelSelector
from rollout.fleet.selectors import selector_of

ADOPTING = ("DaemonSet", "ReplicaSet", "ReplicationController")


@dataclass(frozen=True, slots=True)
class Selecting:
    """An object that selects pods by labels: a Service, a NetworkPolicy, a controller, ..."""

    kind: str
    name: str
    selector: LabelSelector

    @property
    def keys(self) -> frozenset[str]:
        """The labels that it looks at."""
        expressions = (str(e.get("key")) for e in self.selector.match_expressions)
        return frozenset(self.selector.match_labels) | frozenset(expressions)

    @property
    def is_controller(self) -> bool:
        """Whether it counts the pods that it selects as its own."""
        return self.kind in ADOPTING or self.kind == "StatefulSet"

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels are selected."""
        return selector_of(self.selector).matches(labels)


@dataclass(frozen=True, slots=True)
class Selectors:
    """What selects the pods of a namespace, as far as it may be seen."""

    found: tuple[Selecting, ...] = ()
    unseen: tuple[str, ...] = ()  # kinds of which nobody let us see whether there are any
