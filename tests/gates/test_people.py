"""The gates `approval`, `pause` and `window`: they wait, and say for what."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from rollout.gates import approval, pause, window
from rollout.gates.context import Approval
from rollout.gates.measurement import Measurement, Outcome
from rollout.openings import zone_of
from tests.gates.worlds import NOW, a_context, a_gate

PLAN = "sha256:abc"


def yes(who: str, **changes: Any) -> Approval:
    plain = Approval(who=who, at=NOW, gate="gate/after-wave/canary/g", digest=PLAN)
    return replace(plain, **changes)


def ask(*given: Approval, **fields: Any) -> Measurement:
    return approval.measure(a_gate("approval", **fields), a_context(approvals=given))


def test_one_approval_of_somebody_else_is_enough() -> None:
    found = ask(yes("ben"))
    assert (found.outcome, found.value) == (Outcome.PASSED, "1 of 1")
    assert found.reason == "approved by ben"


def test_without_an_approval_it_waits_and_names_who_is_asked() -> None:
    found = ask(approvers=["ben", "eva"], minimum=2)
    assert found.outcome is Outcome.WAITING
    assert found.reason == "waits for 2 more of 2 approvals; asked are ben, eva"


def test_the_author_of_the_plan_does_not_count() -> None:
    found = ask(yes("ann"))
    assert found.outcome is Outcome.WAITING
    assert "ann made the plan and doesn't count" in found.reason


def test_the_author_on_another_host_is_the_author() -> None:
    gate = a_gate("approval")
    context = a_context(author="ann@laptop", approvals=(yes("ann@ci"),))
    assert approval.measure(gate, context).outcome is Outcome.WAITING


def test_two_people_are_two_not_one_twice() -> None:
    assert ask(yes("ben"), yes("ben", at=NOW + 1), minimum=2).outcome is Outcome.WAITING
    assert ask(yes("ben"), yes("eva"), minimum=2).outcome is Outcome.PASSED


def test_only_those_who_are_asked_count() -> None:
    found = ask(yes("tom"), approvers=["ben"])
    assert found.outcome is Outcome.WAITING
    assert "tom is not asked" in found.reason


def test_an_approval_of_another_plan_does_not_count() -> None:
    found = ask(yes("ben", digest="sha256:older"))
    assert found.outcome is Outcome.WAITING
    assert "ben approved another plan" in found.reason


def test_an_approval_of_another_gate_does_not_count() -> None:
    assert ask(yes("ben", gate="gate/after-wave/rest/other")).outcome is Outcome.WAITING


def test_a_no_fails_until_it_is_taken_back() -> None:
    no = yes("ben", approved=False, reason="not today")
    assert (ask(no).outcome, ask(no).reason) == (Outcome.FAILED, "ben said no: not today")
    assert ask(no, yes("eva")).outcome is Outcome.FAILED
    assert ask(no, yes("ben", at=NOW + 1)).outcome is Outcome.PASSED
    assert ask(yes("tom", approved=False), approvers=["ben"]).outcome is Outcome.WAITING


def test_a_pause_ends_when_its_time_is_over() -> None:
    gate = a_gate("pause", duration="5m")
    early = pause.measure(gate, a_context(began=NOW - 299))
    assert (early.outcome, early.again_at) == (Outcome.WAITING, NOW + 1)
    assert early.reason == "goes on in 1s"
    assert pause.measure(gate, a_context(began=NOW - 300)).outcome is Outcome.PASSED


NIGHTS = {"allow": "0 22 * * *", "for": "6h", "timeZone": "Europe/Berlin"}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone_of("Europe/Berlin")).timestamp()


def through(text: str, **fields: Any) -> Measurement:
    gate = a_gate("window", at="before-node", **{"windows": [NIGHTS], **fields})
    return window.measure(gate, a_context(now=at(text)))


def test_an_open_window_passes_and_says_until_when() -> None:
    found = through("2026-11-27 23:00")
    assert found.outcome is Outcome.PASSED
    assert found.reason == "the window is open until Sat 2026-11-28 04:00 CET (03:00 UTC)"


def test_a_closed_window_waits_for_the_next_opening_in_both_times() -> None:
    found = through("2026-11-27 21:00")
    assert (found.outcome, found.again_at) == (Outcome.WAITING, at("2026-11-27 22:00"))
    assert found.reason == "the window is closed; opens Fri 2026-11-27 22:00 CET (21:00 UTC)"


def test_too_little_time_left_waits_for_the_next_window() -> None:
    """Six minutes left in the window and a step of nine minutes: the node is not begun."""
    found = through("2026-11-28 03:54", enough="9m")
    assert (found.outcome, found.again_at) == (Outcome.WAITING, at("2026-11-28 22:00"))
    assert found.reason == (
        "6m are left in the window, and 9m are needed; opens Sat 2026-11-28 22:00 CET (21:00 UTC)"
    )
    assert through("2026-11-28 03:54", enough="6m").outcome is Outcome.PASSED


def test_a_denial_is_named() -> None:
    found = through(
        "2026-12-24 23:00",
        windows=[NIGHTS, {"deny": "0 0 24 12 *", "for": "48h", "timeZone": "Europe/Berlin"}],
    )
    assert found.outcome is Outcome.WAITING
    assert found.reason == (
        "closed by deny '0 0 24 12 *' for 2d (Europe/Berlin); "
        "opens Sat 2026-12-26 00:00 CET (Fri 2026-12-25 23:00 UTC)"
    )


@pytest.mark.parametrize("cron", ["0 22 * * *", "0 23 * * *"])
def test_a_window_that_never_opens_says_so(cron: str) -> None:
    found = through(
        "2026-11-27 12:00",
        windows=[{"allow": cron, "for": "1h"}, {"deny": "0 22 * * *", "for": "2h"}],
    )
    assert found.outcome is Outcome.WAITING
    assert found.reason == "the window is closed; no opening is in sight"
    assert found.again_at is None
