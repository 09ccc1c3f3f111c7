"""What sinks are told, and the shapes in which they take it. Pure."""

from __future__ import annotations

import msgspec

from rollout.executor.actions import Outcome
from rollout.fleet.objects import JsonObject, format_time
from rollout.notifyspec import Occasion, PagerDutySink
from rollout.planner.plan import PlannedDaemonSet

SCHEMA = "rollout.notice/v1"
MOST_TEXT = 1000  # characters; Kubernetes takes 1024 in an Event, PagerDuty as many in a summary
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
        "dedup_key": f"rollout/{message.namespace}/{message.rollout}/{message.run}",
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


def for_kubernetes(message: Message, ds: PlannedDaemonSet, name: str) -> JsonObject:
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
