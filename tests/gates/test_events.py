"""The gate `events`: Warning events that are newer than the change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.fleet.objects import format_time
from rollout.gates.context import Bare
from rollout.gates.events import Event, select, times_since
from rollout.gates.measurement import Outcome
from rollout.sim.images import Behaviour, Fault, FaultKind
from rollout.sim.resources import EVENTS
from tests.e2e.world import NEW
from tests.fleet.builders import make_pod
from tests.gates.scene import scene
from tests.gates.worlds import NOW, a_context, a_gate

CHANGE = NOW - 60


def event(**fields: Any) -> Event:
    about = fields.pop("about", {"kind": "Pod", "name": "p", "uid": "uid-p"})
    made = {
        "involvedObject": about,
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "count": 1,
        "firstTimestamp": format_time(NOW),
        "lastTimestamp": format_time(NOW),
    }
    return msgspec.convert(made | fields, Event)


def count(*events: Event, **fields: Any) -> int:
    context = a_context(updated=(make_pod("p", "n1"),))
    return sum(n for _, n in select(a_gate("events", **fields), events, context))


def test_a_warning_about_a_new_pod_counts() -> None:
    assert count(event()) == 1
    assert count(event(type="Normal")) == 0
    assert count(event(about={"kind": "Pod", "name": "q", "uid": "uid-q"})) == 0


def test_nodes_and_daemon_sets_count_when_they_are_asked_for() -> None:
    node = event(about={"kind": "Node", "name": "n1", "uid": "n1"})
    daemon_set = event(about={"kind": "DaemonSet", "name": "log-agent", "uid": "ds-uid"})
    assert (count(node), count(node, of=["nodes"])) == (0, 1)
    assert (count(daemon_set), count(daemon_set, of=["pods"])) == (1, 0)


def test_reasons_and_patterns_narrow_it() -> None:
    assert count(event(), reasons=["FailedMount"]) == 0
    assert count(event(), ignore=["BackOff"]) == 0
    assert count(event(), pattern="restarting (failed|bad)") == 1
    assert count(event(), pattern="^never$") == 0


@pytest.mark.parametrize(
    ("first", "last", "number", "counted"),
    [
        (NOW, NOW, 3, 3),
        (CHANGE - 100, CHANGE - 1, 5, 0),
        (CHANGE - 100, NOW, 5, 1),  # how many of the five are new is not said
        (CHANGE, CHANGE, 1, 1),
    ],
)
def test_what_happened_before_the_change_does_not_count(
    first: float, last: float, number: int, counted: int
) -> None:
    made = event(firstTimestamp=format_time(first), lastTimestamp=format_time(last), count=number)
    assert times_since(made, CHANGE + 0.7) == counted


def test_events_of_the_newer_api_have_their_times_elsewhere() -> None:
    made = event(
        firstTimestamp=None,
        lastTimestamp=None,
        eventTime=format_time(NOW - 5),
        series={"count": 4, "lastObservedTime": format_time(NOW)},
    )
    assert times_since(made, CHANGE) == 4
    assert times_since(event(firstTimestamp=None, lastTimestamp=None), CHANGE) == 0


def test_a_pod_that_crashes_is_told_by_its_events(tmp_path: Path) -> None:
    images = {NEW: Behaviour(fault=Fault(FaultKind.UNPULLABLE))}
    lost = (Bare("log-agent", "node-001"),)
    with scene(tmp_path, images=images) as running:
        gone = [
            running.measure(a_gate("events", at=at), updated=())
            for at in ("after-wave", "after-node", "background", "after-run")
        ]
        others = running.measure(a_gate("events", of=["daemonSets"]), updated=())
        running.wait_for(EVENTS, lambda e: e["type"] == "Warning" and e["reason"] == "Failed")
        one_lost = running.measure(a_gate("events", maxEvents=1000), bare=lost)
        bad = running.measure(a_gate("events"), bare=lost)
        found = running.measure(a_gate("events"))
        ignored = running.measure(a_gate("events", reasons=["FailedMount"]))
        many = running.measure(a_gate("events", maxEvents=1000))
    assert found.outcome is Outcome.FAILED
    assert "Failed" in found.reason
    assert (ignored.outcome, ignored.reason) == (Outcome.PASSED, "no warnings")
    assert many.outcome is Outcome.PASSED
    # S8: that nobody writes events about pods that are gone is no proof of health.
    assert {m.outcome for m in gone} == {Outcome.NO_DATA}
    assert gone[0].reason == "there is no new pod to look at; no warnings"
    assert others.outcome is Outcome.PASSED
    assert one_lost.outcome is Outcome.NO_DATA
    assert one_lost.reason.startswith("no new pod to look at on node-001; ")
    assert bad.outcome is Outcome.FAILED


def test_before_the_change_the_pods_as_they_are_are_looked_at() -> None:
    old = make_pod("p", "n1")
    gates = [a_gate("events", at=at) for at in ("preflight", "before-wave", "before-node")]
    context = a_context(control=(old,), updated=(), since=0.0)
    assert [len(select(gate, [event()], context)) for gate in gates] == [1, 1, 1]
    assert select(a_gate("events", at="after-wave"), [event()], context) == []
