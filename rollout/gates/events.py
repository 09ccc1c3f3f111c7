"""The gate `events`: Warning events about the new pods, their nodes or the DaemonSets."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from rollout.cluster.paths import resource_path
from rollout.fleet.objects import Pod, parse_time
from rollout.gates.context import Context, bare_nodes
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gatespec import EventsGate
from rollout.patterns import compile_pattern
from rollout.quantity import cut

NODE_EVENTS = "default"  # the namespace in which events about nodes are kept


class Involved(msgspec.Struct, frozen=True):
    """`involvedObject` of an event."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Series(msgspec.Struct, frozen=True, rename="camel"):
    """`series` of an event that came again and again."""

    count: int = 1
    last_observed_time: str | None = None


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a v1 Event that are looked at."""

    involved_object: Involved
    type: str = ""
    reason: str = ""
    message: str = ""
    count: int | None = None
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    series: Series | None = None


def measure(gate: EventsGate, context: Context) -> Reading | Measurement:
    """Count the events; those that began before the change count once, whatever their number."""
    names = {pod.metadata.namespace or context.namespace for pod in context.updated}
    spaces = {ds.namespace for ds in context.daemon_sets} | names
    if gate.of == ("nodes",):
        spaces = set()
    if "nodes" in gate.of:
        spaces.add(NODE_EVENTS)
    events = [event for space in sorted(spaces) for event in _read(context, space)]
    found = select(gate, events, context)
    total = sum(number for _, number in found)
    said = [f"{e.involved_object.name}: {e.reason}: {e.message}" for e, _ in found]
    reason = f"{total} warnings: {cut(said, 2)}" if said else "no warnings"
    if total > gate.max_events:
        return Reading(total, Outcome.FAILED, reason)
    unknown = _unknown(gate, context)
    if unknown:
        return Measurement(Outcome.NO_DATA, context.now, str(total), f"{unknown}; {reason}")
    return Reading(total, Outcome.PASSED, reason)


def _unknown(gate: EventsGate, context: Context) -> str:
    """Say what there should be events about and isn't; "" when all is there.

    A pod that is gone is asked for by nobody: that nothing is said of it proves nothing.
    """
    if "pods" in gate.of and not gate.precedes:
        lost = bare_nodes(context)
        if lost:
            return f"no new pod to look at on {cut(lost)}"
        if not _pods(gate, context):
            return "there is no new pod to look at"
    return ""


def _pods(gate: EventsGate, context: Context) -> list[Pod]:
    """Return the pods whose events count: the new ones, and before the change all of them."""
    pods = (*context.updated, *context.control) if gate.precedes else context.updated
    name = context.node.metadata.name if context.node is not None else ""
    return [pod for pod in pods if name in ("", pod.target_node)]


def select(gate: EventsGate, events: Iterable[Event], context: Context) -> list[tuple[Event, int]]:
    """Return the events that count, and how often each happened since the change."""
    pattern = compile_pattern(gate.pattern) if gate.pattern is not None else None
    pods = {pod.metadata.uid for pod in _pods(gate, context)}
    sets = {ds.uid for ds in context.daemon_sets}
    nodes = set(context.updated_nodes)
    if context.node is not None:
        nodes = {context.node.metadata.name}

    def about(event: Event) -> bool:
        involved = event.involved_object
        return (
            ("pods" in gate.of and involved.uid in pods)
            or ("daemonSets" in gate.of and involved.uid in sets)
            or ("nodes" in gate.of and involved.kind == "Node" and involved.name in nodes)
        )

    return [
        (event, times_since(event, context.since))
        for event in events
        if event.type == "Warning"
        and about(event)
        and (not gate.reasons or event.reason in gate.reasons)
        and event.reason not in gate.ignore
        and (pattern is None or pattern.found_in(event.message))
        and times_since(event, context.since)
    ]


def times_since(event: Event, since: float) -> int:
    """Return how often an event happened since a time, as far as it says.

    Times of events are whole seconds, so the second of the change counts as after it.
    """
    begin = math.floor(since)
    series = event.series
    last = (series.last_observed_time if series else None) or event.last_timestamp
    last = last or event.event_time or event.first_timestamp
    if last is None or parse_time(last) < begin:
        return 0
    first = event.first_timestamp or event.event_time
    if first is None or parse_time(first) < begin:
        return 1  # the last time is certain; how many of the others came since is not said
    return max(1, (series.count if series else event.count) or 1)


def _read(context: Context, namespace: str) -> list[Event]:
    path = resource_path("v1", "events", namespace=namespace)
    return context.client.list(path, Event, field_selector="type=Warning").items
