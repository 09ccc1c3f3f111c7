"""Does the controller still replace what is deleted? Where it doesn't, nothing more is deleted.

The evidence is a node in flight that has no pod at all: the old one is gone, and no successor was
made. After 30 s of that, with no new pod anywhere in the DaemonSet meanwhile, the controller is
taken for dead; a new pod anywhere proves that it lives (and that the trouble is that node's own).
Where the API server refuses the new pods, the controller says so in an event, and its word counts
at once. Bounds the harm to what is in flight by then (behaviour.md 7, cases 37 and 62).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollout.executor.engine import sight
from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.quantity import cut

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

PATIENCE_S = 30.0  # seconds without a successor
_RESOLUTION_S = 1.0  # of the time stamps of events
_UNDER_WAY = (StepState.REPLACING, StepState.SOAKING)


@dataclass(slots=True)
class Refusal:
    """The API server does not take the controller's pods."""

    message: str
    at: float  # seconds, by the event


@dataclass(slots=True)
class Guard:
    """What is known of one DaemonSet's controller."""

    bereft: dict[str, float] = field(default_factory=dict)  # nodes without a pod, oldest first
    on_their_own: set[str] = field(default_factory=set)  # of those: others got one since
    said: Refusal | None = None  # by the last event, new or old
    silent: bool = False  # no successor comes

    def believed(self) -> str:
        """Return a refusal where a node waits and the event isn't from before; else ""."""
        first = next(iter(self.bereft.values()), None)
        if first is None or self.said is None or self.said.at < first - _RESOLUTION_S:
            return ""
        return self.said.message


def look_at(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """See whether a node in flight waits for the controller."""
    guard = book.guards[ds.name]
    waits = run.state in _UNDER_WAY and not run.awaiting_answer and not ds.view.on(run.node)
    if not waits:
        slot_given_back(book, ds, run.node)
    elif run.node not in guard.bereft and run.node not in guard.on_their_own:
        since = run.started_at if run.inherited else now
        guard.bereft[run.node] = since
        book.at(now + PATIENCE_S, lambda at: _overdue(book, ds, run.node, since, at))
        _weigh(book, ds)


def _overdue(book: Book, ds: DaemonSetRun, node: str, since: float, now: float) -> None:
    guard = book.guards[ds.name]
    if not sight.can_judge(book, now):
        book.at(now + PATIENCE_S, lambda at: _overdue(book, ds, node, since, at))
    elif guard.bereft.get(node) == since and not guard.silent and not ds.pods_refused:
        guard.silent = True
        book.note("controller-silent", ds, message=reason(book, ds))


def refusal_seen(book: Book, ds: DaemonSetRun, message: str, at: float) -> None:
    """The controller says that the API server did not take a pod.

    Args:
        book: of the run.
        ds: whose pod.
        message: of the event.
        at: when, in seconds; events from before the run are listed too.
    """
    book.guards[ds.name].said = Refusal(message, at)
    _weigh(book, ds)


def _weigh(book: Book, ds: DaemonSetRun) -> None:
    guard = book.guards[ds.name]
    message = guard.believed()
    if not message:
        return
    guard.silent = False  # it speaks
    if not ds.pods_refused:
        book.note("pods-refused", ds, message=message)
    ds.pods_refused = message


def slot_given_back(book: Book, ds: DaemonSetRun, node: str) -> None:
    """The step of a node is over: it waits no longer."""
    guard = book.guards[ds.name]
    guard.bereft.pop(node, None)
    guard.on_their_own.discard(node)


def successor_seen(book: Book, ds: DaemonSetRun, node: str, now: float) -> None:
    """A pod was made that was not there before: the controller lives."""
    guard = book.guards[ds.name]
    for other, since in guard.bereft.items():
        if guard.silent or now >= since + PATIENCE_S:
            ds.steps[other].unserved_s += now - since
    guard.on_their_own.update(other for other in guard.bereft if other != node)
    guard.bereft.clear()
    guard.said, ds.pods_refused = None, ""
    if guard.silent:
        guard.silent = False
        book.note("controller-back", ds, message="pods come back; the run goes on")


def is_unserved(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> bool:
    """Whether a node has no pod because the controller makes none, now or in a process before."""
    guard = book.guards[ds.name]
    if ds.pods_refused or run.node not in guard.bereft:
        return False
    return guard.silent or now >= guard.bereft[run.node] + PATIENCE_S


def unserved_for(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> float:
    """Return for how many seconds of its step a node has lacked a controller that does its part."""
    goes_on = is_unserved(book, ds, run, now)
    return run.unserved_s + (now - book.guards[ds.name].bereft[run.node] if goes_on else 0.0)


def is_silent(book: Book) -> bool:
    """Whether the controller is taken for dead; it is one and the same for all DaemonSets."""
    return any(guard.silent for guard in book.guards.values())


def is_trusted(book: Book, ds: DaemonSetRun) -> bool:
    """Whether what is deleted would be replaced."""
    return not ds.pods_refused and not is_silent(book)


def reason(book: Book, ds: DaemonSetRun) -> str:
    """Return in one sentence why nothing more is deleted; "" when that is not so."""
    guard = book.guards[ds.name]
    nodes = f" on {cut(list(guard.bereft))}" if guard.bereft else ""
    if ds.pods_refused:
        return (
            f"new pods of DaemonSet {ds.name} are refused ({ds.pods_refused}); nothing more is "
            "deleted until one is taken"
        )
    if guard.silent:
        return (
            f"the controller has not replaced the pods of DaemonSet {ds.name}{nodes} for "
            f"{PATIENCE_S:.0f} s: kube-controller-manager may be down; nothing more is deleted "
            "until pods come back"
        )
    return ""
