"""The nodes that a run has not touched, by zone: what its new pods are compared with. Pure.

Counted as things change, for a zone that goes down tells so once for each of its nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class ControlGroup:
    """How many nodes of each zone are untouched, and how many of those are not ready.

    Args:
        zones: node -> its zone; at first all of them are untouched.
    """

    def __init__(self, zones: Mapping[str, str]) -> None:
        self.size: Counter[str] = Counter(zones.values())
        self.down: Counter[str] = Counter()
        self._zones = zones
        self._touched: set[str] = set()
        self._not_ready: set[str] = set()

    def note(self, node: str, *, touched: bool) -> None:
        """The run begins with a node or is through with it; or the node waits, or is left out."""
        if touched is (node in self._touched):
            return
        (self._touched.add if touched else self._touched.discard)(node)
        zone, by = self._zones[node], -1 if touched else 1
        self.size[zone] += by
        if node in self._not_ready:
            self.down[zone] += by

    def note_readiness(self, node: str, *, ready: bool) -> None:
        """A node is ready, or is not; one that is not of the plan is passed over."""
        if node not in self._zones or ready is (node not in self._not_ready):
            return
        (self._not_ready.discard if ready else self._not_ready.add)(node)
        if node not in self._touched:
            self.down[self._zones[node]] += -1 if ready else 1
