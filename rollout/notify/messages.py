"""What sinks are told, and the shapes in which they take it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from rollout.executor.engine.actions import Outcome
from rollout.executor.record.record import RunRecord
from rollout.fleet.objects import JsonObject, format_time
from rollout.notifyspec import Occasion, PagerDutySink, Sink
from rollout.planner.plan import Plan

SCHEMA = "rollout.notice/v1"
MOST_TEXT = 1000  # characters; Kubernetes takes 1024 in an Event, PagerDuty as many in a summary
_LONGEST_KEY = 255  # characters that PagerDuty takes as a dedup_key
_WARNINGS: tuple[Occasion, ...] = ("held", "failed", "rolled-back")
_RESOLVES: tuple[Occasion, ...] = ("done",)
_ENDS: dict[Outcome, Occasion] = {
    Outcome.DONE: "done",
    Outcome.DEFERRED: "done",
    Outcome.FAILED_NODES: "failed",
    Outcome.HELD: "held",
    Outcome.INCONCLUSIVE: "held",
    Outcome.DEADLINE: "held",
    Outcome.ABORTED: "held",
    Outcome.DRIFT: "held",
    Outcome.REFUSED: "held",
    Outcome.ROLLED_BACK: "rolled-back",
    Outcome.ROLLBACK_INCOMPLETE: "failed",
}


class Message(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One thing to tell; as JSON, with the key `schema`, it is what a webhook gets."""

    schema: str
    event: Occasion
    time: str
    text: str
    rollout: str
    namespace: str
    run: str
    plan: str
    digest: str
    wave: str = ""
    node: str = ""
    gate: str = ""
    done: int = 0  # nodes that were done by then
    total: int = 0  # nodes that the plan updates


class Subject(Protocol):
    """A DaemonSet that a run is about."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def namespace(self) -> str:
        """Where it is."""

    @property
    def uid(self) -> str:
        """Which one of that name."""


@dataclass(frozen=True, slots=True)
class About:
    """The run that messages are about, and who gets them.

    Attributes:
        rollout: its name.
        namespace: of the rollout; Secrets without a namespace are read there.
        run: its id.
        plan: id of the plan that it carries out.
        digest: of that plan.
        total: nodes that the plan updates.
        daemon_sets: which Events are left on.
        sinks: who is told.
        waves_done: the waves up to this number (1-based) were told by an earlier process.
        failed: nodes whose failure an earlier process has told.
    """

    rollout: str
    namespace: str
    run: str
    plan: str
    digest: str
    total: int
    daemon_sets: Sequence[Subject]
    sinks: tuple[Sink, ...]
    waves_done: int = 0
    failed: frozenset[str] = frozenset()


def about_plan(plan: Plan, record: RunRecord) -> About:
    """Return what the messages of a run are about whose plan is at hand."""
    return About(
        rollout=plan.name,
        namespace=plan.namespace,
        run=record.run_id,
        plan=plan.id,
        digest=plan.digest,
        total=plan.totals.update,
        daemon_sets=plan.daemon_sets,
        sinks=plan.notify,
        waves_done=record.last_wave_done,
        failed=frozenset(record.failed),
    )


def about_record(record: RunRecord, namespace: str) -> About:
    """Return what the messages of a run are about of which there is only the record."""
    return About(
        rollout=record.name,
        namespace=namespace,
        run=record.run_id,
        plan=record.plan_id,
        digest=record.plan_digest,
        total=record.counts.total if record.counts is not None else 0,
        daemon_sets=record.daemon_sets,
        sinks=record.notify,
    )


def occasion_of(outcome: Outcome) -> Occasion | None:
    """Return what the end of a run is told as; a pause by wish is not told."""
    return _ENDS.get(outcome)


def for_slack(message: Message) -> JsonObject:
    """Return the message as Slack's incoming webhooks take it; control characters are escaped."""
    safe = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    head = f"rollout {message.namespace}/{message.rollout} ({message.event})"
    return {"text": f"{head}: {safe}"}


def for_pagerduty(message: Message, sink: PagerDutySink, routing_key: str) -> JsonObject:
    """Return the message as an event of PagerDuty's Events API v2: one alert for each run."""
    event: JsonObject = {
        "routing_key": routing_key,
        "event_action": "resolve" if message.event in _RESOLVES else "trigger",
        "dedup_key": _alert(message),
    }
    if event["event_action"] == "trigger":
        event["payload"] = {
            "summary": f"rollout {message.rollout}: {message.text}"[:MOST_TEXT],
            "source": f"{message.namespace}/{message.rollout}",
            "severity": sink.severity,
            "timestamp": message.time,
            "component": message.rollout,
            "group": message.namespace,
            "class": message.event,
            "custom_details": msgspec.to_builtins(message),
        }
    return event


def _alert(message: Message) -> str:
    """Return what all events of a run have in common, and of no other run."""
    key = f"rollout/{message.namespace}/{message.rollout}/{message.run}"
    return key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def for_kubernetes(message: Message, ds: Subject, name: str) -> JsonObject:
    """Return the message as a core/v1 Event on a DaemonSet.

    Args:
        message: what to tell.
        ds: that it is about.
        name: of the Event; unique.
    """
    reason = "Rollout" + "".join(part.capitalize() for part in message.event.split("-"))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": ds.namespace},
        "involvedObject": {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "name": ds.name,
            "namespace": ds.namespace,
            "uid": ds.uid,
        },
        "reason": reason,
        "message": message.text[:MOST_TEXT],
        "type": "Warning" if message.event in _WARNINGS else "Normal",
        "source": {"component": "rollout"},
        "firstTimestamp": message.time,
        "lastTimestamp": message.time,
        "count": 1,
    }


def stamp(seconds: float) -> str:
    """Return a time as messages write it."""
    return format_time(seconds)
