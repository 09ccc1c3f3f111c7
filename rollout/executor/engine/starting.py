"""What may begin now: order, budgets, pace, and the safety rules at the one place of a delete.

The rules S1 to S9 of the design are assertions in `_assert_safe`.
"""

from __future__ import annotations

from functools import partial

from rollout.executor.engine import (
    advancing,
    backgroundgates,
    claiming,
    controlling,
    gatewindows,
    guarding,
    nodegates,
    settling,
    sight,
    stepping,
    storedtimes,
    terms,
    unfit,
    zones,
)
from rollout.executor.engine.actions import (
    DeletePod,
    PodWrite,
    Prepare,
    ReleasePod,
    Restore,
    TakeBack,
)
from rollout.executor.engine.book import Book
from rollout.executor.engine.health import restarts_of
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.state import DaemonSetRun, Lane, Phase, StepRun, StepState
from rollout.fleet.objects import Pod
from rollout.quantity import cut


def start_updates(book: Book, now: float) -> None:
    """Start what order, budgets and the rate limit allow at this moment (S1, S6, S9)."""
    if sight.is_blind(book, now) or book.finished or book.gating.again:
        return
    _take_over_cleared(book, now)
    if not book.stopping:
        settling.make_room(book, now)
        _start_patches(book, now)
        _start_what_fits(book, now)
        stepping.ask_next(book)
    if book.stopping:  # maybe by what was just looked at
        _start_approved(book, now)


def _start_what_fits(book: Book, now: float) -> None:
    # A node that is only looked at may fail at once, and so end the way forward (S6).
    while not book.stopping:
        update = _next_update(book, now)
        if update is None:
            return
        _start(book, update, now)


def _take_over_cleared(book: Book, now: float) -> None:
    """Go on with nodes whose gates have passed; what must not start is let go by `gating`."""
    cleared = book.gating.cleared
    for run in list(cleared):
        if controlling.may_start(book, run):
            cleared.remove(run)
            _take_over(book, run, now)


def _start_approved(book: Book, now: float) -> None:
    """Start the nodes that were approved by name while the run is paused, and look at others."""
    if controlling.wants_patch(book):
        _start_prepares(book, now)
    for run in controlling.approved_by_name(book):
        if not too_much_trouble(book) and _fits_now(book, run) and _may_begin(book, run, now):
            _start(book, run, now)
    looks = controlling.looks_first(book)
    while (book.wishes.nodes or looks) and (update := _next_update(book, now)) is not None:
        _start(book, update, now)


def _start_patches(book: Book, now: float) -> None:
    _start_prepares(book, now)
    for ending in _ready(book, "restore") if not book.retries.open else ():
        ds = book.daemon_sets[ending.step.daemon_set]
        if ds.phase is Phase.RESTORED:  # by an earlier process of this run
            book.finish_step(ending, now)
        elif ds.phase is not Phase.RESTORING and _may_restore(book, ds, now):
            _begin_restore(book, ds, ending, now)


def _may_restore(book: Book, ds: DaemonSetRun, now: float) -> bool:
    return backgroundgates.have_passed(book, ds.name, now) and settling.settle(book, ds)


def _start_prepares(book: Book, now: float) -> None:
    for opening in _ready(book, "prepare"):
        ds = book.daemon_sets[opening.step.daemon_set]
        ready = ds.phase is Phase.UNTOUCHED and ds.live is not None
        if ready and stepping.may_patch(book) and book.gating.shut(now) is None:
            ds.phase = Phase.PREPARING
            book.actions.append(Prepare(ds.name))


def _ready(book: Book, kind: str) -> list[StepRun]:
    """Return the ready patches; there are two a DaemonSet, so this is short."""
    found = (book.steps.get(f"{kind}/{name}") for name in book.daemon_sets)
    return [run for run in found if run is not None and run.state is StepState.READY]


def _begin_restore(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    kept = ds.kept_back(book.wishes.skipped.keys() | book.unfit)
    kept += [node for node in settling.taken_back(ds) if node not in kept]
    if kept and not ds.planned.owner_on_delete:
        book.note(
            "strategy-kept",
            ds,
            message="the strategy stays OnDelete: restoring it would let the controller at "
            f"once replace the pods of the nodes that were left out ({cut(kept)})",
        )
        book.finish_step(run, now)
        return
    ds.unprepared = ds.phase is Phase.UNTOUCHED
    ds.phase = Phase.RESTORING
    book.actions.append(Restore(ds.name))


def _next_update(book: Book, now: float) -> StepRun | None:
    """Return the first step in plan order that fits into every pool; None when none does."""
    if not claiming.has_room(book) or too_much_trouble(book):
        return None
    while (best := _first_that_fits(book)) is not None:
        if _may_begin(book, best, now):
            return best
        if best.lane is not None:  # what speaks against it speaks against all
            return None
    return None


def _may_begin(book: Book, run: StepRun, now: float) -> bool:
    """Whether a step for which there is room may begin.

    Where its own node speaks against it, it is left out or waits apart: then it is in no lane.
    """
    ds = book.daemon_sets[run.step.daemon_set]
    deletes = run.lane is not Lane.VERIFY
    if deletes and (why := unfit.why_left(book, ds, run)):
        run.lane = None
        unfit.leave_out(book, ds, run, why, now)
        return False
    if deletes and book.gating.shut(now) is not None:
        return False
    if deletes and (guard := gatewindows.shut_for(book, run, now)):
        run.lane = None
        guard.parked.append(run)
        return False
    if run.node in book.busy_nodes:  # a node belongs to one step at a time
        run.lane = None
        book.parked.setdefault(run.node, []).append(run)
        return False
    if deletes and claiming.set_aside(book, run):
        return False
    return not deletes or _take_token(book, now)


def too_much_trouble(book: Book) -> bool:
    """Whether so many nodes in flight are in trouble that nothing starts until they get well."""
    limit = book.plan.failure.max_in_trouble
    return limit is not None and book.in_trouble > limit


def _first_that_fits(book: Book) -> StepRun | None:
    found = (
        ds.first(partial(_fits, book, ds))
        for ds in book.daemon_sets.values()
        if ds.resolved and ds.listed and ds.released_listed and book.nodes_listed
    )
    return min((run for run in found if run is not None), key=_urgency, default=None)


def _fits_now(book: Book, run: StepRun) -> bool:
    """Whether a step may start, whatever its place in the order of the plan."""
    ds = book.daemon_sets[run.step.daemon_set]
    known = ds.resolved and ds.listed and ds.released_listed and book.nodes_listed
    free = run.node not in book.busy_nodes and claiming.has_room(book)
    return known and free and _fits(book, ds, run)


def _fits(book: Book, ds: DaemonSetRun, run: StepRun) -> bool:
    """Whether budget, what was said and zone cap leave room for this step now.

    The budget comes first: at most times it is used up, and the rest need not be asked.
    """
    if not ds.has_room(run, book.plan.waves[run.step.wave - 1].max_unavailable):
        return False
    if not (controlling.may_start(book, run) and stepping.may_start(book, run)):
        return False
    cap = book.plan.limits.max_per_zone
    if cap and claiming.load_of(book, run.zone) >= cap:
        return False
    if run.lane is not Lane.VERIFY and not may_take_away(book, ds, run):
        return False
    most = book.failures.most_at_once(run.step.wave)
    return most is None or book.in_flight < most


def may_take_away(book: Book, ds: DaemonSetRun, run: StepRun) -> bool:
    """Whether nothing but room speaks against taking away the pod of a node."""
    return guarding.is_trusted(book, ds) and zones.is_open(book, ds, run)


def _take_token(book: Book, now: float) -> bool:
    """Keep the pace; a refusal sets the time to ask again."""
    wait_until = book.pace.take(now)
    if wait_until is not None:
        book.at(wait_until, lambda _: None)
    return wait_until is None


def _start(book: Book, run: StepRun, now: float) -> None:
    """Take a slot and delete the node's old pod, or only verify where there is none."""
    ds = book.daemon_sets[run.step.daemon_set]
    deletes = run.lane is not Lane.VERIFY
    asks = deletes and bool(nodegates.gates_before(book, run))
    claims = deletes and not asks and claiming.must_claim(book, run)
    write = None if asks or claims else _first_write(book, ds, run, ds.view.on(run.node))
    run.lane = None
    book.busy_nodes[run.node] = run
    ds.view.hold(run.node)
    ds.control.note(run.node, touched=True)
    book.in_flight += 1
    book.zone_load[run.zone] = book.zone_load.get(run.zone, 0) + 1
    if asks or claims:
        run.started_at = now
    if asks:
        nodegates.ask_before(book, run, now)
    elif claims:
        claiming.claim(book, run)
    else:
        _begin(book, ds, run, write, now)


def _take_over(book: Book, run: StepRun, now: float) -> None:
    """Replace the pod of a node that holds its slot already: the gates before it have passed."""
    if run.state is not StepState.ASKING:
        return  # it left the cluster meanwhile
    if claiming.must_claim(book, run):
        claiming.claim(book, run)
        return
    ds = book.daemon_sets[run.step.daemon_set]
    ds.view.release(run.node, failed=False)  # it must fit without its own claim, and takes it again
    run.lane = None
    ds.enqueue(run, "")
    fits = ds.has_room(run, book.plan.waves[run.step.wave - 1].max_unavailable)
    write = _first_write(book, ds, run, ds.view.on(run.node)) if fits else None
    run.lane = None
    ds.view.hold(run.node)
    if fits:
        _begin(book, ds, run, write, now)
    else:
        book.release(ds, run)
        run.state = StepState.READY
        book.enqueue(ds, run)


def _begin(book: Book, ds: DaemonSetRun, run: StepRun, write: PodWrite | None, now: float) -> None:
    """Carry out what the node needs first, and watch its time."""
    pods = ds.view.on(run.node)
    run.inherited = write is None
    if run.inherited:
        run.known_restarts = sum(restarts_of(pod) for pod in pods)
    run.state = StepState.REPLACING
    earlier = storedtimes.began_before(book, run, pods)
    found = write is None and not run.reopened
    # A new run gives a node of an earlier one its whole time: the cause may have been mended.
    told = now if run.node in ds.watched else storedtimes.told_by(pods)
    run.started_at = min(now, earlier, told) if found else now
    if write is not None:
        run.state = StepState.DELETING
    terms.set_deadline(book, ds, run)
    storedtimes.begun(book, run, now)
    _note_wave(book, run)
    if write is not None:
        takes = not isinstance(write, TakeBack)
        assert not (takes and claiming.must_claim(book, run)), "a node that others may work on"
        run.asked_at = run.asked_at or now
        run.awaiting_answer = True
        book.actions.append(write)
    advancing.advance(book, ds, run, now)


def _first_write(book: Book, ds: DaemonSetRun, run: StepRun, pods: list[Pod]) -> PodWrite | None:
    """Return what the node needs first; None where everything is already under way."""
    back = ds.to_take_back(run.node)
    if back is not None:
        return TakeBack(ds.name, run.node, back.metadata.name, back.metadata.uid)
    released = ds.view.released.get(run.node)
    # One that ends serves nobody: the pod beside it is handed over like any other (S1).
    if released is not None and released.terminating:
        released = None
    run.released_uid = released.metadata.uid if released is not None else ""
    victim = next((p for p in pods if _is_victim(ds, run, p)), None)
    if victim is None:
        return None
    _assert_safe(book, ds, run, victim)
    return _take_away(ds, run, victim)


def _is_victim(ds: DaemonSetRun, run: StepRun, pod: Pod) -> bool:
    """Whether the step must take the pod away: an old one, or one that failed (another try)."""
    return not pod.terminating and (
        not ds.is_target(pod) or pod.metadata.uid == run.retry_uid != ""
    )


def _take_away(ds: DaemonSetRun, run: StepRun, victim: Pod) -> PodWrite:
    """Hand a ready pod over where the plan surges, however new it is; any other is deleted."""
    name, uid = victim.metadata.name, victim.metadata.uid
    hands_over = ds.planned.hand_over is not None and uid != run.retry_uid
    if hands_over and victim.ready and not run.released_uid:
        return ReleasePod(ds.name, run.node, name, uid)
    return DeletePod(ds.name, run.node, name, uid)


def _note_wave(book: Book, run: StepRun) -> None:
    if run.step.wave not in book.waves_begun:
        book.waves_begun.add(run.step.wave)
        wave = book.plan.waves[run.step.wave - 1]
        book.tell(Notice("wave-started", wave=run.step.wave, message=wave.name))


def _assert_safe(book: Book, ds: DaemonSetRun, run: StepRun, victim: Pod) -> None:
    """State the safety rules at the only place that decides a delete."""
    assert controlling.may_start(book, run), "S6/S9: a delete after hold, pause or drift"
    assert not run.blockers, "S7: a step before its predecessors"
    assert victim.metadata.controller_uid == ds.planned.uid, "S2: a pod of another owner"
    assert victim.target_node == run.node, "S2: a pod of another node"
    again = victim.metadata.uid == run.retry_uid
    assert again or not ds.is_target(victim), "S3: a pod of the target revision"
    assert not run.replaced_uid, "S3: a second delete on one node"
    assert not nodegates.gates_before(book, run), "S8: a delete before its gates have passed"
    limit = book.plan.waves[run.step.wave - 1].max_unavailable
    assert ds.has_room(run, limit), "S1: the budget is used up"


def _urgency(run: StepRun) -> tuple[int, int]:
    assert run.lane is not None
    return run.lane, run.rank
