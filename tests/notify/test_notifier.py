from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from rollout.errors import LockedError, RolloutError
from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.engine.notices import Notice
from rollout.executor.record.record import new_record
from rollout.notify.delivery import MOST_WAITING, TRIES, Send
from rollout.notify.messages import Message, about_plan, for_kubernetes, for_pagerduty, for_slack
from rollout.notify.notifier import MOST_FAILED_NODES, Notifier
from rollout.notifyspec import PagerDutySink, Sink
from rollout.planner.plan import Plan
from tests.planner.worlds import make_fleet, make_spec, plan_of

WEBHOOK = {"name": "ops", "kind": "webhook", "url": "https://example.com/hook"}
PAGER = {"name": "pager", "kind": "pagerduty", "secretRef": {"env": "KEY"}}


class Ended:
    def __init__(self, outcome: Outcome, message: str) -> None:
        self.finish = Finish(outcome, message)
        self.steps = ()
        self.unapproved = 0


def notifier_of(plan: Plan, send: Send, warnings: list[str], **changes: Any) -> Notifier:
    record = new_record(plan, "r1", "2026-01-01T00:00:00Z", "ann")
    return Notifier(about_plan(plan, record), send, warnings.append, warnings.append, **changes)


def told_by(
    *sinks: dict[str, Any], notices: list[Notice], ended: Ended
) -> list[tuple[str, Message]]:
    plan = plan_of(make_fleet(3), make_spec(notify=list(sinks)))
    sent: list[tuple[str, Message]] = []
    notifier = notifier_of(plan, lambda sink, message: sent.append((sink.name, message)), [])
    with notifier:
        notifier.begin()
        for notice in notices:
            notifier.notice(notice, plan)
        notifier.end(ended)  # type: ignore[arg-type] # of a result it looks at the finish only
    return sent


DONE = Ended(Outcome.DONE, "all well")


def test_a_sink_gets_what_it_asked_for_and_nothing_else() -> None:
    notices = [
        Notice("wave-done", wave=1),
        Notice("node-started", node="n1"),
        Notice("held", message="x"),
    ]
    some = told_by(WEBHOOK | {"events": ["wave-done", "done"]}, notices=notices, ended=DONE)
    assert [m.event for _, m in some] == ["wave-done", "done"]
    every = told_by(WEBHOOK, notices=notices, ended=DONE)
    assert [m.event for _, m in every] == ["started", "wave-done", "held", "done"]


def test_a_hold_that_was_told_is_not_told_again_at_the_end() -> None:
    ended = Ended(Outcome.HELD, "x")
    sent = told_by(WEBHOOK, notices=[Notice("held", message="x")], ended=ended)
    assert [m.event for _, m in sent] == ["started", "held"]


def test_failed_nodes_do_not_flood_a_sink() -> None:
    notices = [Notice("node-failed", node=f"n{i}", message="bad") for i in range(100)]
    sent = told_by(WEBHOOK, notices=notices, ended=Ended(Outcome.ROLLED_BACK, "back"))
    assert [m.event for _, m in sent].count("failed") == MOST_FAILED_NODES
    assert sent[-1][1].event == "rolled-back"


def test_a_sink_that_fails_is_tried_again_and_reported_once_and_stops_nothing() -> None:
    plan = plan_of(make_fleet(3), make_spec(notify=[WEBHOOK, WEBHOOK | {"name": "good"}]))
    tries: list[str] = []
    warnings: list[str] = []

    def send(sink: Sink, message: Message) -> None:
        tries.append(f"{sink.name} {message.event}")
        if sink.name == "ops":
            raise RolloutError("no answer")

    notifier = notifier_of(plan, send, warnings, pause_s=0.0)
    with notifier:
        notifier.begin()
        notifier.end(DONE)  # type: ignore[arg-type] # as above
    assert tries.count("ops started") == TRIES
    assert tries.count("good done") == 1
    assert warnings == ["notify ops was not told: no answer; the run goes on"]
    assert notifier.lost == {"ops": 2}


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_breaks_off_is_told_only_if_it_had_begun(begun: bool) -> None:  # noqa: FBT001 - a case
    plan = plan_of(make_fleet(3), make_spec(notify=[WEBHOOK]))
    sent: list[Message] = []
    notifier = notifier_of(plan, lambda _, message: sent.append(message), [])

    def run() -> None:
        with notifier:
            if begun:
                notifier.begin()
                notifier.begin()
            raise LockedError("held by another run")

    with pytest.raises(LockedError):
        run()
    told = [(m.event, m.text) for m in sent]
    breaks = ("failed", "run r1 broke off: held by another run")
    assert told == ([("started", "run r1 begins"), breaks] if begun else [])


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """Yield what lets the sink go that hangs until then."""
    release = threading.Event()
    yield release
    release.set()


def send_to(hanging: threading.Event, sent: list[tuple[str, str]]) -> Send:
    def send(sink: Sink, message: Message) -> None:
        if sink.name == "ops":
            hanging.wait()
        sent.append((sink.name, message.event))

    return send


def test_a_sink_that_hangs_keeps_neither_the_run_nor_another_sink_waiting(
    hanging: threading.Event,
) -> None:
    plan = plan_of(make_fleet(3), make_spec(notify=[WEBHOOK, WEBHOOK | {"name": "good"}]))
    warnings: list[str] = []
    sent: list[tuple[str, str]] = []
    notifier = notifier_of(plan, send_to(hanging, sent), warnings, goodbye_s=0.2)
    with notifier:
        notifier.begin()
        notifier.end(DONE)  # type: ignore[arg-type] # as above
    assert sent == [("good", "started"), ("good", "done")]
    assert warnings == [
        "notify ops was not told: it has not answered by the end of the run; the run goes on"
    ]
    assert notifier.lost == {"ops": 2}


def test_a_full_queue_loses_the_oldest_and_the_goodbye_is_as_short(
    hanging: threading.Event,
) -> None:
    plan = plan_of(make_fleet(3), make_spec(notify=[WEBHOOK]))
    warnings: list[str] = []
    sent: list[tuple[str, str]] = []
    notifier = notifier_of(plan, send_to(hanging, sent), warnings, goodbye_s=0.0)
    for _ in range(2 * MOST_WAITING):
        notifier.notice(Notice("wave-done", wave=1), plan)
    notifier.report()
    assert len(warnings) == 1
    assert "too many messages wait" in warnings[0]
    before = notifier.lost["ops"]
    assert before >= MOST_WAITING - 1
    with notifier:
        notifier.end(DONE)  # type: ignore[arg-type] # as above
    assert notifier.lost["ops"] == 2 * MOST_WAITING + 1  # told by then or not: nothing is forgotten


def test_a_sink_that_hangs_at_first_still_hears_of_the_end(hanging: threading.Event) -> None:
    plan = plan_of(make_fleet(3), make_spec(notify=[WEBHOOK]))
    sent: list[tuple[str, str]] = []
    notifier = notifier_of(plan, send_to(hanging, sent), [])
    with notifier:
        for _ in range(2 * MOST_WAITING):
            notifier.notice(Notice("wave-done", wave=1), plan)
        notifier.end(DONE)  # type: ignore[arg-type] # as above
        hanging.set()
    assert sent[-1] == ("ops", "done")


def test_what_an_earlier_process_of_the_run_has_told_is_not_told_again() -> None:
    plan = plan_of(make_fleet(3), make_spec(notify=[WEBHOOK]))
    record = new_record(plan, "r1", "2026-01-01T00:00:00Z", "ann")
    record = msgspec.structs.replace(record, last_wave_done=1, failed=("n1", "n2"))
    sent: list[Message] = []
    about = about_plan(plan, record)
    with Notifier(about, lambda _, message: sent.append(message), print, print) as notifier:
        for told in (
            Notice("wave-done", wave=1),
            Notice("node-failed", node="n1", message="old"),
            Notice("node-retried", node="n2"),
            Notice("node-failed", node="n2", message="new"),
        ):
            notifier.notice(told, plan)
    assert [(m.event, m.text) for m in sent] == [("failed", "n2: new")]


def test_a_hold_for_another_reason_at_the_end_is_told_besides() -> None:
    ended = Ended(Outcome.DRIFT, "somebody edited the template")
    sent = told_by(WEBHOOK, notices=[Notice("held", message="x")], ended=ended)
    assert [m.text for _, m in sent][1:] == ["x", "somebody edited the template"]


def message(event: Any = "held", text: str = "gate <errors> failed") -> Message:
    sent = told_by(WEBHOOK, notices=[], ended=DONE)[0][1]
    return msgspec.structs.replace(sent, event=event, text=text)


def test_a_webhook_gets_the_documented_schema() -> None:
    sent = msgspec.to_builtins(message())
    assert sent["schema"] == "rollout.notice/v1"
    assert {"event", "time", "text", "rollout", "namespace", "run", "plan", "digest"} <= set(sent)


def test_slack_gets_text_without_markup() -> None:
    assert for_slack(message())["text"].endswith("(held): gate &lt;errors&gt; failed")


@pytest.mark.parametrize(("event", "action"), [("held", "trigger"), ("done", "resolve")])
def test_pagerduty_gets_one_alert_for_a_run(event: str, action: str) -> None:
    sink = msgspec.convert(PAGER, PagerDutySink)
    sent = for_pagerduty(message(event), sink, "key")
    assert sent["event_action"] == action
    assert sent["dedup_key"] == "rollout/logging/r/r1"
    assert ("payload" in sent) is (action == "trigger")


def test_kubernetes_gets_an_event_on_the_daemon_set() -> None:
    plan = plan_of(make_fleet(3), make_spec())
    sent = for_kubernetes(message(), plan.daemon_sets[0], "agent.1")
    assert sent["involvedObject"]["uid"] == plan.daemon_sets[0].uid
    assert (sent["type"], sent["reason"]) == ("Warning", "RolloutHeld")
