"""What earlier runs led to which template."""

from __future__ import annotations

from rollout.executor.record.earlier import template_before
from rollout.executor.record.history import PastRun, RunSubject
from rollout.executor.record.record import Counts


def past(
    target: str, before: str, phase: str = "complete", started: int = 1, failed: int = 0
) -> PastRun:
    subject = RunSubject("logging", "agent", "uid-agent", target, before)
    at = f"2026-01-01T00:00:{started:02}Z"
    counts = Counts(updated=3, failed=failed, deferred=0, total=3)
    return PastRun("r", "p", "d", phase, at, "ann@host", "", "", (subject,), counts)


def test_only_a_run_that_did_not_go_well_leads_back_to_the_template_before_it() -> None:
    assert template_before("uid-agent", "v2", [past("v2", "v1")]) == ""
    assert template_before("uid-agent", "v2", [past("v2", "v1", failed=1)]) == "v1"
    assert template_before("uid-agent", "v2", [past("v2", "v1", "superseded")]) == "v1"
    assert template_before("uid-agent", "v2", [past("v3", "v1", "superseded")]) == ""
    assert template_before("uid-other", "v2", [past("v2", "v1", "superseded")]) == ""


def test_the_last_run_to_a_template_counts() -> None:
    runs = [past("v2", "v0", "paused", 1), past("v2", "v1", "complete", 2)]

    assert template_before("uid-agent", "v2", runs) == ""
    assert template_before("uid-agent", "v2", [*runs, past("v2", "v1", "held", 3)]) == "v1"
