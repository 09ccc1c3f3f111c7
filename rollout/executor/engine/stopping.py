"""How long a run that shall stop still waits for what is in flight.

Nothing new starts from the first moment on. What is in flight is awaited for a grace; without a
view of the cluster nothing could be seen of it anyway, so then the wait is short. Whatever is given
up here is found again by the next `apply` of the same plan.
"""

from __future__ import annotations

from rollout.errors import ExitCode
from rollout.executor.engine import sight
from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.engine.book import Book
from rollout.quantity import cut, format_duration

_LOCKED_OUT = 4  # waits without a view: an API server that starts may refuse everybody for a moment


def asked_to_stop(book: Book, why: str, now: float) -> None:
    """Somebody wants the run to stop; only the first wish counts."""
    if book.stop_why:
        return
    book.stop_why = why
    book.interrupted = True
    _limit_wait(book, now)


def take_up(book: Book, now: float) -> None:
    """Bound the wait of a run that is to be aborted; it may begin with that word (L2)."""
    wish = book.wishes.stop
    if wish is not None and wish.verb == "abort" and book.bounded_for != wish:
        book.bounded_for = wish
        _limit_wait(book, now)


def _limit_wait(book: Book, now: float) -> None:
    """Wait for what is in flight no longer than the grace."""
    over = f"the grace of {format_duration(book.grace_s)} is over"
    book.at(now + book.grace_s, lambda _: _give_up(book, over))
    watch_blindness(book, now)


def watch_blindness(book: Book, now: float) -> None:
    """Bound the wait of a run that is to stop and sees nothing any more."""
    if _shall_end(book) and book.lost_views:
        since = book.sight.blind_since
        book.at(now + book.blind_s, lambda _: _look(book, since))


def watch_lockout(book: Book, now: float) -> None:
    """Bound the wait of a run whose credentials are not accepted: nobody else can renew them."""
    since = book.sight.locked_out_since
    book.at(now + _LOCKED_OUT * book.blind_s, lambda _: _end_locked_out(book, since))


def _end_locked_out(book: Book, since: float) -> None:
    sight = book.sight
    if book.finished is not None or not sight.locked_out or sight.locked_out_since != since:
        return
    nodes = [run.node for run in book.flying]
    left = f"; not awaited any longer: {cut(nodes)}" if nodes else ""
    why = next(iter(sight.locked_out.values()))
    book.finished = Finish(Outcome.REFUSED, f"{why}{left}", ExitCode.NOT_AUTHORISED)
    book.actions.append(book.finished)


def _shall_end(book: Book) -> bool:
    wish = book.wishes.stop
    return bool(book.stop_why) or (wish is not None and wish.verb == "abort")


def _look(book: Book, since: float) -> None:
    if book.lost_views and book.sight.blind_since == since:
        _give_up(book, sight.why_blind(book))


def _give_up(book: Book, why: str) -> None:
    if book.finished is not None or not book.stopping:
        return
    nodes = [run.node for run in book.flying]
    left = cut(nodes) if nodes else "the answer of the API server"
    wish = book.wishes.stop
    outcome = Outcome.DRIFT if book.drift_why else Outcome.PAUSED
    if wish is not None and wish.verb == "abort":
        outcome = Outcome.ABORTED
    cause = book.drift_why or book.hold_why or book.stop_why or str(wish)
    message = f"{cause}; not awaited any longer: {left} ({why})"
    book.finished = Finish(outcome, message, resumes=book.drift_resumes)
    book.actions.append(book.finished)
