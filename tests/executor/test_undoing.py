"""Where undo goes when nobody names a revision, and what it asks a name for."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from rollout.errors import StaleError
from rollout.executor.record.history import past_run
from rollout.executor.record.record import Counts, RecordedDaemonSet, RunPhase, RunRecord
from rollout.executor.runs import FoundRecord, KnownRun, recorded_strategy
from rollout.executor.undoing import revision_meant
from rollout.fleet.revisions import template_digest
from tests.planner.worlds import make_fleet, make_revision, make_template

OLD, BAD, NEW = (make_template(image=f"agent:{tag}") for tag in ("old", "bad", "new"))
HISTORY = [make_revision(2, BAD), make_revision(3, OLD)]
GONE_BACK = make_fleet(template=OLD, revisions=HISTORY)


def record(
    phase: RunPhase, target: dict[str, Any], started_at: str = "2027-01-15T08:00:00Z"
) -> RunRecord:
    daemon_set = RecordedDaemonSet(
        name="log-agent",
        namespace="logging",
        uid=GONE_BACK.daemon_set.metadata.uid,
        original_strategy={},
        final_strategy={},
        target_digest=template_digest(target),
        previous_digest="",
        surges=False,
    )
    return RunRecord(1, "r1", "p1", "d1", "agent", phase, started_at, "ann", (daemon_set,))


def known(found: RunRecord) -> KnownRun:
    return KnownRun("logging", found.name, past_run(found), last=True, locks=None)


@pytest.mark.parametrize(
    "phase", ["rolled back", "held", "aborted", "rollback incomplete", "superseded", "cleaned up"]
)
def test_a_revision_whose_last_run_did_not_succeed_is_asked_for_by_its_number(
    phase: RunPhase,
) -> None:
    failed = [known(record(phase, BAD))]

    with pytest.raises(StaleError, match=rf"r1 of rollout agent is {phase}.*--to-revision 2"):
        revision_meant(GONE_BACK, None, None, failed)
    assert revision_meant(GONE_BACK, 2, None, failed).revision == 2


def test_a_complete_run_with_failed_nodes_is_no_success() -> None:
    counts = Counts(updated=3, failed=1, deferred=0, total=4)
    failed = [known(replace(record("complete", BAD), counts=counts))]

    with pytest.raises(StaleError, match="did not succeed"):
        revision_meant(GONE_BACK, None, None, failed)


def test_the_last_run_to_a_revision_counts_and_runs_to_others_do_not() -> None:
    runs = [
        known(record("rolled back", BAD, "2027-01-15T08:00:00Z")),
        known(record("complete", BAD, "2027-01-16T08:00:00Z")),
        known(record("held", NEW, "2027-01-17T08:00:00Z")),
    ]

    assert revision_meant(GONE_BACK, None, None, runs).revision == 2
    with pytest.raises(StaleError):
        revision_meant(GONE_BACK, None, None, runs[:1])


def test_a_revision_that_no_run_led_to_is_nobody_s_failure() -> None:
    assert revision_meant(GONE_BACK, None, None, []).revision == 2


def test_an_undo_that_was_stopped_on_its_way_goes_on_to_where_it_went() -> None:
    stopped = record("paused", OLD)

    assert revision_meant(GONE_BACK, None, stopped, [known(stopped)]).revision == 3


def test_an_undo_that_is_over_or_went_elsewhere_is_not_gone_on_with() -> None:
    for done in (record("complete", OLD), record("paused", NEW)):
        assert revision_meant(GONE_BACK, None, done, []).revision == 2


def test_updates_47_of_two_runs_in_one_second_that_with_the_higher_epoch_came_later() -> None:
    later = replace(record("complete", OLD), epoch=2)
    aborted = replace(record("aborted", BAD), epoch=1)
    found = [FoundRecord("logging", one.name, one, ()) for one in (aborted, later)]
    uid = GONE_BACK.daemon_set.metadata.uid
    assert recorded_strategy(uid, found) is None
    assert recorded_strategy(uid, found[::-1]) is None
    assert recorded_strategy(uid, found[:1]) == {}
