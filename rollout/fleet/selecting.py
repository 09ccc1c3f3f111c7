"""Objects that select pods by labels and feel it when a pod's labels change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.fleet.objects import LabelSelector
from rollout.fleet.selectors import selector_of


@dataclass(frozen=True, slots=True)
class Selecting:
    """An object that selects pods by labels: a Service, PodDisruptionBudget or NetworkPolicy."""

    kind: str
    name: str
    selector: LabelSelector

    @property
    def keys(self) -> frozenset[str]:
        """The labels that it looks at."""
        expressions = (str(e.get("key")) for e in self.selector.match_expressions)
        return frozenset(self.selector.match_labels) | frozenset(expressions)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether pods with these labels are selected."""
        return selector_of(self.selector).matches(labels)
