"""What of the cluster is seen as it is: what is not seen is not judged, and blind nothing starts.

While a watch of them is silent or broken, what is known may be old: neither is a node healthy by it
nor failed. Verdicts wait until the views are back and have had time to catch up. The time without
them is held against no node, but up to the progress deadline: in an outage of the API server no
kubelet and no controller can do its part, and yet every wait ends (L3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollout.executor.engine.state import BEFORE, IN_FLIGHT, StepState
from rollout.quantity import cut

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

CATCH_UP_S = 0.2  # for the events that a watch has missed: they follow its answer at once
_JUDGED = ("pods", "released", "nodes")  # kinds of views that verdicts stand on


@dataclass(slots=True)
class Sight:
    """How long the run has been without a view of pods or nodes."""

    blind_since: float = BEFORE  # when the first of all views that are lost was lost
    dark_since: float | None = None  # the same for those that verdicts stand on
    missed_s: float = 0.0  # in all, before that
    back_at: float = float("-inf")  # when the last view came back
    locked_out: dict[str, str] = field(default_factory=dict)  # view -> why we may not see it
    locked_out_since: float = BEFORE
    went_back: bool = False  # the cluster forgot what was seen: nothing known of it holds

    @property
    def settled_at(self) -> float:
        """When the views had caught up, or will have."""
        return self.back_at + CATCH_UP_S

    def missed_by(self, now: float) -> float:
        """Return for how many seconds in all nothing could be judged."""
        return self.missed_s + (now - self.dark_since if self.dark_since is not None else 0.0)


def lost(book: Book, resource: str, reason: str, now: float) -> None:
    """A watch, or the lock, tells nothing any more: nothing is judged, if it is one that counts."""
    if not book.lost_views:
        book.sight.blind_since = now
    book.lost_views[resource] = reason
    if book.sight.dark_since is None and _dark(book):
        book.sight.dark_since = now


def locked_out(book: Book, resource: str, reason: str, now: float) -> None:
    """The server does not accept our credentials for a view."""
    if not book.sight.locked_out:
        book.sight.locked_out_since = now
    book.sight.locked_out[resource] = reason


def back(book: Book, resource: str, now: float) -> None:
    """A view is back: judge again, once the last one has caught up."""
    book.sight.locked_out.pop(resource, None)
    book.lost_views.pop(resource, None)
    sight = book.sight
    if sight.dark_since is None or _dark(book):
        return
    sight.missed_s, sight.dark_since, sight.back_at = sight.missed_by(now), None, now
    book.at(sight.settled_at, lambda at: _look(book, at))


def went_back(book: Book, resource: str, version: str, seen: str) -> None:
    """The cluster's store was set back: the run ends, for what it knows came after that (S9).

    No node can be judged by it either; the next process knows nothing but what is there.
    """
    book.sight.went_back = True
    book.stop_for_drift(
        f"{resource}: the cluster's state went back from version {seen} to {version} and stays "
        "there: its store was restored from a backup, or another server answers under its name; "
        "look at it with 'rollout status', then apply the plan again, or plan anew"
    )


def can_judge(book: Book, now: float) -> bool:
    """Whether what is known of pods and nodes is how they are."""
    return book.sight.dark_since is None and now >= book.sight.settled_at


def is_blind(book: Book, now: float) -> bool:
    """Whether anything is not seen, or not yet as it is: nothing starts, and no gate passes."""
    return bool(book.lost_views) or not can_judge(book, now)


def why_blind(book: Book) -> str:
    """Say which views are lost, and why the first of them; "" when none is."""
    return _text(book, sorted(book.lost_views))


def why_dark(book: Book) -> str:
    """Say the same of the views that verdicts stand on."""
    return _text(book, _dark(book))


def _text(book: Book, names: list[str]) -> str:
    return f"no view of {cut(names)} ({book.lost_views[names[0]]})" if names else ""


def _dark(book: Book) -> list[str]:
    return sorted(name for name in book.lost_views if name.partition("/")[0] in _JUDGED)


def _look(book: Book, now: float) -> None:
    """Take up what could not be judged meanwhile."""
    if not can_judge(book, now):
        return
    for ds in book.daemon_sets.values():
        for run in ds.steps.values():
            if run.state in IN_FLIGHT or run.state in (StepState.FAILED, StepState.DONE):
                book.node_changed(ds, run.node, now)
