"""What others say to a run, entered into its book: pause, resume, approve, skip, retry, abort.

Always the whole of it is heard, never a difference, so that hearing it twice changes nothing. A
wish to stop never touches what is in flight: that is watched to its end.
"""

from __future__ import annotations

from functools import partial

from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.engine.book import Book
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.retrying import reopen
from rollout.executor.engine.state import DaemonSetRun, Lane, Phase, StepRun, StepState
from rollout.executor.record.record import Wish
from rollout.executor.record.wishes import Wishes
from rollout.quantity import cut

_ASKED = {"pause": "pausing", "hold": "held", "abort": "aborting", "rollback": "rolling-back"}


def hear(book: Book, wishes: Wishes, now: float) -> None:
    """Take in all that has been said to this run so far.

    Args:
        book: the run's.
        wishes: everything that counts now.
        now: seconds, by the clock of the run.
    """
    before, book.wishes = book.wishes, wishes
    if wishes.stop != before.stop:
        _tell_stop(book)
    _take_approvals(book, now)
    _take_skips(book, now)
    for node, at in wishes.retried.items():
        if before.retried.get(node) != at:
            _try_again(book, node, at, now)


def may_start(book: Book, run: StepRun) -> bool:
    """Whether what was said lets a ready step begin; its budgets are another matter.

    While the run is paused only nodes that were approved by name move; those before them that are
    done already are looked at, so that it is observed (S7), and those that an earlier process left
    in flight. While a node of an earlier wave is tried again, no later wave moves.
    """
    if book.stopping and not _moves_in_pause(book, run):
        return False
    return all(run.step.wave <= other.step.wave for other in book.retries.open.values())


def looks_first(book: Book) -> bool:
    """Whether nothing may start, but what an earlier process left behind is watched.

    That process was killed before it heard the word, which never touches what is in flight; or its
    failed nodes hold the run again before all that it replaced have been looked at.
    """
    stop = book.wishes.stop
    if not book.resumed or book.stop_why or book.drift_why:
        return False
    if stop is not None and stop.verb == "rollback":
        return False
    if book.hold_why:
        return book.by_release and book.plan.failure.on_failure == "hold"
    return stop is not None


def approved_by_name(book: Book) -> list[StepRun]:
    """Return the steps that may move although the run is paused; in the order of the plan."""
    if not _only_paused(book):
        return []
    found = [run for run in _approved(book) if run.state is StepState.READY]
    return sorted(found, key=lambda run: run.rank)


def wants_patch(book: Book) -> bool:
    """Whether an approved node of a paused run waits for nothing but the first patch."""
    return _only_paused(book) and any(
        run.state is StepState.BLOCKED and run.step.wave == 1 for run in _approved(book)
    )


def ended(book: Book) -> Finish | None:
    """Return why a run with nothing in flight ends before its end; None when it goes on."""
    if looks_first(book) and _is_looking(book):
        return None
    stop = book.wishes.stop
    if stop is not None and stop.verb == "abort":
        return Finish(Outcome.ABORTED, f"{stop}; {half_updated(book)}")
    if book.drift_why:
        return Finish(Outcome.DRIFT, book.drift_why, resumes=book.drift_resumes)
    if book.hold_why:
        why = book.with_its_end(book.hold_why)
        return Finish(book.hold_outcome, why, book.hold_code, by_release=book.by_release)
    if book.stop_why:
        return Finish(Outcome.PAUSED, book.with_its_end(book.stop_why))
    return _ended_by_wish(book, stop) if stop is not None else _waiting_for_approval(book)


def _waiting_for_approval(book: Book) -> Finish | None:
    if book.unapproved is None or any(ds.waits for ds in book.daemon_sets.values()):
        return None
    plan, wave = book.plan, book.plan.wave_word(book.unapproved.step.wave)
    return Finish(
        Outcome.PAUSED,
        f"wave {wave} is done and waits for approval: 'rollout approve {plan.name} "
        f"--wave {wave} --plan {plan.id} -n {plan.namespace}'",
    )


def _ended_by_wish(book: Book, stop: Wish) -> Finish | None:
    match stop.verb:
        case "hold":
            return Finish(Outcome.HELD, str(stop))
        case "rollback":
            return Finish(Outcome.PAUSED, str(stop))
    if approved_by_name(book) or (_approved(book) and _is_looking(book)):
        return None
    return Finish(Outcome.PAUSED, f"{stop}{_still_blocked(book)}")


def half_updated(book: Book) -> str:
    """Say how far the fleet is, for a run that ends before its end."""
    total = book.plan.totals.update
    kept = [ds.name for ds in book.daemon_sets.values() if ds.is_flipped]
    strategy = f"; the strategy of {', '.join(kept)} stays OnDelete" if kept else ""
    return f"half-updated: {book.done_count} of {total} nodes are done{strategy}"


def _tell_stop(book: Book) -> None:
    stop = book.wishes.stop
    if stop is None:
        book.tell(Notice("resumed", message="nobody wants it to stop any more"))
    else:
        book.tell(Notice(_ASKED[stop.verb], message=str(stop)))


def _take_approvals(book: Book, now: float) -> None:
    waits = book.unapproved
    if waits is None:
        return
    if waits.step.wave in book.wishes.waves:
        book.unapproved = None
        book.finish_step(waits, now)
    else:
        book.let_through(waits, now)


def _take_skips(book: Book, now: float) -> None:
    """Leave nodes alone whose turn has not come, and go on without those that failed."""
    skipped = False
    for node, why in book.wishes.skipped.items():
        for ds in book.daemon_sets.values():
            run = ds.steps.get(node)
            if run is not None and run.state in (StepState.READY, StepState.FAILED):
                book.end(ds, run, StepState.SKIPPED, why, now)
                skipped = True
    if skipped and not book.failures.still_too_many():
        book.go_on()


def _try_again(book: Book, node: str, asked: float, now: float) -> None:
    """Begin failed nodes again, and take the hold back that they led to."""
    if not book.nodes_listed:  # said to an earlier process: what has failed is not known yet
        book.retries.before[node] = asked
        return
    for ds in book.daemon_sets.values():
        runs = ds.steps.values() if not node else filter(None, [ds.steps.get(node)])
        for run in list(runs):
            if run.state is StepState.FAILED:
                book.failures.healed(run.step.wave, excused=run.excused)
                book.pending += 1
                reopen(book, ds, run, now)
    book.go_on()


def _only_paused(book: Book) -> bool:
    stop = book.wishes.stop
    other = book.stop_why or book.hold_why or book.drift_why
    return stop is not None and stop.verb == "pause" and not other


def _moves_in_pause(book: Book, run: StepRun) -> bool:
    named = bool(book.wishes.nodes) and _only_paused(book)
    if named and run.node in book.wishes.nodes:
        return True
    only_looks = _only_looks(book.daemon_sets[run.step.daemon_set], run)
    return only_looks and (named or looks_first(book))


def _only_looks(ds: DaemonSetRun, run: StepRun) -> bool:
    return run.lane is Lane.VERIFY and ds.to_take_back(run.node) is None


def _approved(book: Book) -> list[StepRun]:
    """Return the steps of approved nodes that have not begun."""
    return [
        ds.steps[node]
        for node in book.wishes.nodes
        for ds in book.daemon_sets.values()
        if node in ds.steps and ds.steps[node].state in (StepState.BLOCKED, StepState.READY)
    ]


def _is_looking(book: Book) -> bool:
    """Whether something is still to be learned of what is done already."""
    return any(
        ds.live is None
        or not (ds.listed and ds.released_listed and book.nodes_listed)
        or (not ds.resolved and (ds.phase is not Phase.UNTOUCHED or wants_patch(book)))
        or ds.first(partial(_only_looks, ds)) is not None
        for ds in book.daemon_sets.values()
    )


def _still_blocked(book: Book) -> str:
    """Name the nodes that were approved, and that wait for others all the same (S7)."""
    waiting = sorted({run.node for run in _approved(book)})
    return f"; approved, but behind a wave that is not done: {cut(waiting)}" if waiting else ""
