"""The gate `pods`: its limits, the control group, quiet time, and the fleet before the start."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.fleet.objects import Pod, format_time
from rollout.gates.context import Bare
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gates.pods import measure
from tests.fleet.builders import make_node
from tests.gates.worlds import NOW, a_context, a_gate

CHANGE = NOW - 60  # `since` of the context
LONG_AGO = NOW - 86400


def pod(name: str, *, ready: bool = True, **how: Any) -> Pod:
    """Return a pod; `restarts` of it, the last one at `ended`; `waits` for a reason."""
    state: dict[str, Any] = {"waiting": {"reason": how["waits"]}} if "waits" in how else {}
    last = {}
    if "ended" in how:
        last = {"terminated": {"exitCode": 1, "finishedAt": format_time(how["ended"])}}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "uid": f"uid-{name}",
                "creationTimestamp": format_time(how.get("born", LONG_AGO)),
                **({"deletionTimestamp": format_time(NOW)} if how.get("going") else {}),
            },
            "spec": {"nodeName": f"node-{name}"},
            "status": {
                "phase": how.get("phase", "Running"),
                "conditions": [{"type": "Ready", "status": str(ready)}],
                "containerStatuses": [
                    {
                        "name": "agent",
                        "restartCount": how.get("restarts", 0),
                        "state": state,
                        "lastState": last,
                    }
                ],
            },
        },
        Pod,
    )


def pods(good: int, bad: int, word: str) -> tuple[Pod, ...]:
    return tuple(
        pod(f"{word}-{number}", ready=number >= bad, born=CHANGE) for number in range(good + bad)
    )


def look(
    new: tuple[Pod, ...], old: tuple[Pod, ...] = (), **fields: Any
) -> tuple[Outcome, str, Reading | Measurement]:
    found = measure(a_gate("pods", **fields), a_context(updated=new, control=old))
    return (
        found.otherwise if isinstance(found, Reading) else found.outcome,
        found.reason,
        found,
    )


def test_all_new_pods_well_pass() -> None:
    outcome, reason, found = look(pods(2, 0, "new"), pods(60, 0, "old"))
    assert (outcome, reason) == (Outcome.PASSED, "2 of 2 new pods are well")
    assert isinstance(found, Reading)
    assert found.result == {
        "total": 2,
        "bad": 0,
        "restarts": 0,
        "controlTotal": 60,
        "controlBad": 0,
        "p": 1.0,
    }


def test_without_a_new_pod_there_is_no_data() -> None:
    assert look((), pods(5, 0, "old"))[0] is Outcome.NO_DATA


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"ready": False}, "p is not ready"),
        ({"ready": False, "waits": "ImagePullBackOff"}, "p is not ready (ImagePullBackOff)"),
        ({"going": True}, "p is terminating"),
        ({"phase": "Failed"}, "p is Failed"),
    ],
)
def test_a_new_pod_that_is_not_well_fails_and_is_named(how: dict[str, Any], why: str) -> None:
    outcome, reason, _ = look((pod("p", **how),))
    assert outcome is Outcome.FAILED
    assert reason == f"1 of 1 new pods are not well ({why}); 100% have to be"


@pytest.mark.parametrize(
    ("available", "bad", "outcome"),
    [("80%", 2, Outcome.PASSED), ("80%", 3, Outcome.FAILED), (7, 3, Outcome.PASSED)],
)
def test_the_available_share_decides(available: str | int, bad: int, outcome: Outcome) -> None:
    new = pods(10 - bad, bad, "new")
    assert look(new, available=available, controlGroup=False)[0] is outcome


def test_restarts_fail_above_the_limit() -> None:
    new = (pod("p", restarts=2, ended=CHANGE + 1),)
    assert look(new, maxRestarts=1)[:2] == (Outcome.FAILED, "more than 1 restarts: p (2)")


def test_restarts_within_the_limit_leave_a_pod_well() -> None:
    new = (pod("p", restarts=1, ended=CHANGE + 5), *pods(3, 0, "new"))
    assert look(new, pods(20, 0, "old"), maxRestarts=1)[0] is Outcome.PASSED
    assert look(new, pods(20, 0, "old"))[0] is Outcome.FAILED


def test_a_waiting_reason_fails_also_inside_the_share() -> None:
    new = (*pods(9, 0, "new"), pod("p", ready=False, waits="ErrImagePull"))
    found = look(new, available="50%", waitingReasons=["ErrImagePull"])
    assert found[:2] == (Outcome.FAILED, "p is ErrImagePull")


# The control group


@pytest.mark.parametrize(
    ("bad_new", "bad_old", "outcome"),
    [
        (0, 0, Outcome.PASSED),
        (1, 0, Outcome.PASSED),  # p = 0.09: chance
        (2, 0, Outcome.WAITING),  # p = 0.0076: not clear yet
        (3, 0, Outcome.FAILED),  # p = 0.0006
        (3, 30, Outcome.PASSED),  # old ones are no better
    ],
)
def test_new_pods_are_held_against_old_ones(bad_new: int, bad_old: int, outcome: Outcome) -> None:
    new, old = pods(10 - bad_new, bad_new, "new"), pods(100 - bad_old, bad_old, "old")
    assert look(new, old, available="50%")[0] is outcome
    if outcome is Outcome.FAILED:
        assert (
            "3 of 10 new pods are bad against 0 of 100 old ones (p = 0.00056)"
            in (look(new, old, available="50%")[1])
        )


def test_without_the_control_group_nothing_is_compared() -> None:
    new, old = pods(7, 3, "new"), pods(100, 0, "old")
    assert look(new, old, available="50%", controlGroup=False)[0] is Outcome.PASSED


def test_old_and_new_failing_alike_does_not_blame_the_release() -> None:
    outcome, reason, _ = look(pods(0, 2, "new"), pods(4, 16, "old"))
    assert outcome is Outcome.INCONCLUSIVE
    assert reason.startswith("old and new pods fail alike: 2 of 2 new pods are not well (new-0")
    assert reason.endswith("and so are 16 of 20 old ones")


def test_only_new_ones_failing_says_so() -> None:
    outcome, reason, _ = look(pods(0, 1, "new"), pods(30, 0, "old"))
    assert outcome is Outcome.FAILED
    assert reason.startswith("only new pods fail: 1 of 1 new pods")


def test_a_restart_of_an_old_pod_counts_only_since_the_change() -> None:
    old = (*pods(20, 0, "old"), pod("earlier", restarts=9, ended=LONG_AGO))
    assert look(pods(1, 0, "new"), old)[2].result["controlBad"] == 0  # type: ignore[union-attr,index]  # it was measured
    old = (*old, pod("now", restarts=1, ended=CHANGE + 5))
    assert look(pods(1, 0, "new"), old)[2].result["controlBad"] == 1  # type: ignore[union-attr,index]  # it was measured


def test_too_small_a_control_group_is_told() -> None:
    assert look(pods(1, 0, "new"), pods(3, 0, "old"))[:2] == (
        Outcome.PASSED,
        "1 of 1 new pods are well; 3 old ones are too few to compare with",
    )


# Quiet time


def test_a_restart_begins_the_quiet_time_anew() -> None:
    """A restart at minute 9 of 10 with a quiet time of 5 m: passed at minute 14, not earlier."""
    canary = (pod("p", born=NOW, restarts=1, ended=NOW + 9 * 60),)
    gate = a_gate("pods", restartFree="5m", maxRestarts=1)

    def at(minute: float) -> Reading | Measurement:
        now = NOW + minute * 60
        return measure(gate, a_context(updated=canary, since=NOW + 9 * 60 + 1, now=now))

    early = at(13.9)
    assert isinstance(early, Measurement)
    assert (early.outcome, early.again_at) == (Outcome.WAITING, NOW + 14 * 60)
    assert early.reason == "p is without a restart for 4m54s, not yet for 5m"
    late = at(14)
    assert isinstance(late, Reading)
    assert late.otherwise is Outcome.PASSED


def test_a_young_pod_has_not_been_quiet_for_longer_than_it_lives() -> None:
    found = look((pod("p", born=NOW - 10),), restartFree="1m")[2]
    assert isinstance(found, Measurement)
    assert found.again_at == NOW + 50


def test_a_restart_at_an_unknown_time_is_not_taken_for_quiet() -> None:
    assert look((pod("p", restarts=1),), restartFree="1m", maxRestarts=1)[0] is Outcome.WAITING


# Before the start


def test_faults_51_a_fleet_that_is_already_unhealthy_is_named_before_the_start() -> None:
    outcome, reason, _ = look((), pods(19, 1, "old"), at="preflight")
    assert outcome is Outcome.FAILED
    assert reason == (
        "already unhealthy: 1 of 20 pods are unavailable before the start, more than 2%: old-0"
    )


@pytest.mark.parametrize(
    ("good", "bad", "limit", "outcome"),
    [
        (98, 2, "2%", Outcome.PASSED),
        (97, 3, "2%", Outcome.FAILED),
        (19, 1, 1, Outcome.PASSED),
        (18, 2, 1, Outcome.FAILED),
        (0, 0, "2%", Outcome.NO_DATA),
    ],
)
def test_the_limit_before_the_start(
    good: int, bad: int, limit: str | int, outcome: Outcome
) -> None:
    found = look((), pods(good, bad, "old"), at="preflight", unavailableBefore=limit)
    assert found[0] is outcome


LOST = (Bare("log-agent", "n3"),)


def look_without(new: tuple[Pod, ...], **fields: Any) -> tuple[Outcome, str]:
    """Look at new pods where n3 should have one, too."""
    found = measure(a_gate("pods", **fields), a_context(updated=new, bare=LOST))
    return found.otherwise if isinstance(found, Reading) else found.outcome, found.reason


def test_a_node_whose_new_pod_is_gone_is_not_available() -> None:
    outcome, reason = look_without(pods(2, 0, "new"))
    assert outcome is Outcome.FAILED
    assert reason == "1 of 3 new pods are not well (n3 has no pod); 100% have to be"


def test_nodes_without_a_new_pod_are_in_the_share_that_has_to_be_well() -> None:
    assert look_without(pods(3, 0, "new"), available="75%")[0] is Outcome.PASSED
    assert look_without(pods(3, 0, "new"), available="76%")[0] is Outcome.FAILED
    assert look_without(pods(3, 0, "new"), available=3)[0] is Outcome.PASSED


def test_new_pods_that_are_all_gone_fail_and_never_pass() -> None:
    assert look_without(())[0] is Outcome.FAILED
    assert look_without((), available=0)[0] is Outcome.NO_DATA


def test_old_nodes_without_a_pod_are_bad_ones_of_the_control_group() -> None:
    context = a_context(updated=pods(2, 0, "new"), control=pods(4, 0, "old"), bare_before=LOST)
    found = measure(a_gate("pods"), context)
    assert isinstance(found, Reading)
    assert isinstance(found.result, dict)
    assert (found.result["controlTotal"], found.result["controlBad"]) == (5, 1)


def test_a_node_without_a_pod_is_unavailable_before_the_start() -> None:
    gate = a_gate("pods", at="preflight")
    found = measure(gate, a_context(control=pods(9, 0, "old"), bare_before=LOST))
    assert isinstance(found, Reading)
    assert found.otherwise is Outcome.FAILED
    assert "1 of 10 pods are unavailable before the start, more than 2%: none on n3" in found.reason


def test_a_node_of_another_gate_is_not_missed() -> None:
    gate = a_gate("pods", at="after-node")
    here = pod("p")
    found = measure(gate, a_context(updated=(here,), bare=LOST, node=make_node("node-p")))
    assert isinstance(found, Reading)
    assert found.otherwise is Outcome.PASSED
