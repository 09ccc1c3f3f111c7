"""What the watches say, in the engine's words."""

from __future__ import annotations

import msgspec
import pytest

from rollout.cluster.watch import Broken, Changed, Listed, Removed, Resumed, Stalled
from rollout.errors import Forbidden
from rollout.executor.engine import events as ev
from rollout.executor.record.record import DATA_KEY, ConfigMap, RunRecord, encode_record
from rollout.executor.record.wishes import Wishes
from rollout.executor.translating import Translator
from rollout.fleet.objects import ClusterEvent, Meta


def translator() -> Translator:
    return Translator(
        {"agent": "uid-agent"},
        "logging/agent",
        "run-1",
        lambda _epoch, _who: None,
        lambda _record: Wishes(),
    )


def cluster_event(reason: str = "FailedCreate", **times: str) -> ClusterEvent:
    raw = {
        "metadata": {"name": "e1", "creationTimestamp": "2026-03-01T12:00:00Z"},
        "involvedObject": {"uid": "uid-agent", "kind": "DaemonSet", "name": "agent"},
        "reason": reason,
        "message": "Error creating: exceeded quota: small",
        **times,
    }
    return msgspec.convert(raw, ClusterEvent)


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"lastTimestamp": "2026-03-01T12:05:00Z"}, 1772366700.0),  # core/v1, counted
        ({"eventTime": "2026-03-01T12:04:00.000000Z"}, 1772366640.0),  # events.k8s.io
        ({}, 1772366400.0),
    ],
)
def test_an_event_about_a_refused_pod_is_told_with_its_words_and_time(
    times: dict[str, str], at: float
) -> None:
    event = cluster_event(**times)
    expected = [ev.CreationRefused("agent", "exceeded quota: small", at)]

    assert translator().translate(Listed("events/agent", [event], "1")) == expected
    assert translator().translate(Changed("events/agent", event)) == expected


def recorded(run_id: str) -> ConfigMap:
    record = RunRecord(1, run_id, "p1", "sha256:a", "agent", "running", "", "ann@laptop", ())
    return ConfigMap(Meta("rollout-agent", namespace="logging"), {DATA_KEY: encode_record(record)})


def test_a_record_that_went_while_nobody_watched_stops_the_run_like_one_that_goes() -> None:
    deleted = [ev.StopAsked("the run record was deleted")]
    heard = translator()
    assert heard.translate(Listed("record", [], "1")) == []  # before the first write
    assert heard.translate(Changed("record", recorded("run-0"))) == []
    assert heard.translate(Listed("record", [], "2")) == []  # it was another run's
    told = [ev.Said(Wishes()), ev.RecordTold(0, "run-1", 0)]
    assert heard.translate(Changed("record", recorded("run-1"))) == told

    assert heard.translate(Listed("record", [], "3")) == deleted
    assert heard.translate(Removed("record", recorded("run-1"))) == deleted


def test_other_events_say_nothing() -> None:
    event = cluster_event("SuccessfulCreate")
    assert translator().translate(Changed("events/agent", event)) == []


def test_events_that_cannot_be_followed_stop_nothing_and_pods_that_cannot_do() -> None:
    error = Forbidden("not allowed")
    for news in (Broken("events/agent", error), Stalled("events/agent", 80.0)):
        assert translator().translate(news) == []
    assert translator().translate(Resumed("events/agent")) == []
    assert translator().translate(Broken("pods/agent", error)) == [
        ev.ViewLost("pods/agent", "not allowed")
    ]
