"""What the real 1.36 controller did in 22 scenarios, done again by the embedded cluster.

The recording is of six fake nodes whose pods take 0.6 s to become Ready and 0.2 s to stop. Which
node comes first is chance in the real controller and here, so nodes are compared by their part in
the story; everything else must be equal.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, NodeGroup, UpdateStrategy, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS, NODES, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Event, Object

RECORDING = Path(__file__).parent / "recordings" / "daemonset-timelines.json"
TIMELINES: list[dict[str, Any]] = json.loads(RECORDING.read_text())
AFTERWARDS = 3.0  # seconds that the recorder went on after the last event
STRICT = [
    "maxUnavailable 1",
    "maxSurge 1",
    "three bad releases in a row, maxUnavailable 1",
    "OnDelete: template change does nothing",
    "OnDelete: a deleted pod returns with the new template",
    "OnDelete: template back to the old one, old pods count as updated",
    "cordon changes nothing",
    (
        "untolerated NoSchedule taint: its old pod is deleted last and comes back only when the "
        "taint goes"
    ),
    "untolerated NoExecute taint: pod removed",
    "stuck terminating pod holds the budget",
    "node joins and leaves in mid-rollout under OnDelete (its pod stays for the 40 s of pod GC)",
]
"""The scenarios that work on one node at a time: their events have one order only."""
RHYTHM = [*STRICT, "template edited again in mid-rollout"]
"""The same where chance also decides which of two old images goes first."""


class Replay:
    """One scenario on the embedded cluster."""

    def __init__(self, timeline: dict[str, Any], seed: int) -> None:
        self.clock = VirtualClock()
        self.start = self.clock.now()
        strategy = timeline["strategy"]
        rolling = strategy.get("rollingUpdate") or {}
        entry = DaemonSetEntry(
            name="agent",
            image="agent:v1",
            min_ready_seconds=2 if "minReadySeconds 2" in timeline["scenario"] else 0,
            strategy=UpdateStrategy(
                strategy["type"], rolling.get("maxUnavailable"), rolling.get("maxSurge")
            ),
        )
        fleet = Fleet(
            seed=seed,
            nodes=tuple(NodeGroup(name=f"node-{number:05d}") for number in range(6)),
            daemon_sets=(entry,),
            default_behaviour=Behaviour(start=Timing(0.6), stop=Timing(0.2)),
        )
        self.cluster = Cluster(self.clock, fleet)
        self.events: list[dict[str, Any]] = []
        self.cluster.start()
        self.cluster.store.subscribe(PODS, self._note)
        for event in timeline["events"]:
            if event["event"] == "ACTION":
                self.clock.call_later(event["t"], self._action(event["what"]))
        self.clock.advance(timeline["events"][-1]["t"] + AFTERWARDS)

    def _note(self, event: Event) -> None:
        kind = _kind(event)
        if kind:
            pod = event.object
            pods = list(self.cluster.store.scan(PODS))
            self.events.append(
                {
                    "t": round(self.clock.now() - self.start, 1),
                    "event": kind,
                    "node": _node(pod),
                    "image": pod["spec"]["containers"][0]["image"],
                    "nodes_with_ready_pod": len({_node(p) for p in pods if _serving(p)}),
                    "pods": len(pods),
                }
            )

    def _action(self, what: str) -> Callable[[], None]:
        def act() -> None:
            self.events.append(
                {"t": round(self.clock.now() - self.start, 1), "event": "ACTION", "what": what}
            )
            self._do(what)

        return act

    def _do(self, what: str) -> None:
        words = what.split()
        match words[0]:
            case "faults":
                self._set_faults(ast.literal_eval(what.removeprefix("faults ")))
            case "template":
                containers = [{"name": "agent", "image": words[-1]}]
                self._patch({"template": {"spec": {"containers": containers}}})
            case "nodeSelector":
                selector = {"kubernetes.io/hostname": words[-1]}
                self._patch({"template": {"spec": {"nodeSelector": selector}}})
            case "strategy" if words[2] == "OnDelete":
                self._patch({"updateStrategy": {"$patch": "replace", "type": "OnDelete"}})
            case "strategy":
                rolling = {"maxUnavailable": int(words[3])}
                self._patch({"updateStrategy": {"type": words[2], "rollingUpdate": rolling}})
            case "delete":
                self._delete_pod_of(words[-1])
            case _:
                self._do_to_node(words)

    def _do_to_node(self, words: list[str]) -> None:
        match words:
            case ["cordon", _] | ["uncordon"]:
                self._patch_node({"unschedulable": words[0] == "cordon" or None})
            case ["taint", effect]:
                taint = {"key": "dedicated", "value": "x", "effect": effect}
                self._patch_node({"taints": [taint]})
            case ["untaint"]:
                self._patch_node({"taints": None})
            case [node, "joins"]:
                self.cluster.join_node(node)
            case [node, "leaves"]:
                self.cluster.remove_node(node)
            case _:
                pytest.fail(f"unknown action {words}")

    def _set_faults(self, faults: dict[str, str]) -> None:
        self.cluster.clear_image_faults()
        for key, kind in faults.items():
            # The recorder matched images by their beginning.
            pattern = key if "@" in key else f"{key}*"
            self.cluster.set_image_fault(pattern, read_fault(kind))

    def _patch(self, spec: Object) -> None:
        self.cluster.registry.patch(
            DAEMONSETS, "default", "agent", {"spec": spec}, PatchType.STRATEGIC, ADMIN
        )

    def _patch_node(self, spec: Object) -> None:
        self.cluster.registry.patch(NODES, "", "node-00002", {"spec": spec}, PatchType.MERGE, ADMIN)

    def _delete_pod_of(self, node: str) -> None:
        for pod in tuple(self.cluster.store.scan(PODS)):
            if _node(pod) == node:
                self.cluster.registry.delete(PODS, "default", pod["metadata"]["name"], ADMIN)

    def final_status(self) -> Object:
        status: Object = self.cluster.registry.get(DAEMONSETS, "default", "agent")["status"]
        return status

    def final_pods(self) -> list[dict[str, Any]]:
        return [
            {
                "node": _node(pod),
                "image": pod["spec"]["containers"][0]["image"],
                "ready": _serving(pod),
                "terminating": "deletionTimestamp" in pod["metadata"],
            }
            for pod in self.cluster.store.scan(PODS)
        ]


def _kind(event: Event) -> str:
    if event.type == "ADDED":
        return "created"
    if event.type == "DELETED":
        return "gone"
    assert event.old is not None
    ends = "deletionTimestamp" in event.object["metadata"]
    if ends:
        return "" if "deletionTimestamp" in event.old["metadata"] else "deleting"
    return "ready" if _serving(event.object) and not _serving(event.old) else ""


def _node(pod: Object) -> str:
    affinity = pod["spec"]["affinity"]["nodeAffinity"]
    term = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    return str(term["matchFields"][0]["values"][0])


def _serving(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _stories(events: list[dict[str, Any]]) -> Counter[tuple[tuple[str, str], ...]]:
    """What happened on each node, whichever node it was."""
    stories: dict[str, list[tuple[str, str]]] = {}
    for event in events:
        if event["event"] != "ACTION":
            stories.setdefault(event["node"], []).append((event["event"], event["image"]))
    return Counter(tuple(story) for story in stories.values())


def _by_part(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """All events in order, with nodes numbered as they come up."""
    numbers: dict[str, int] = {}
    return [
        (event["event"], event["what"])
        if event["event"] == "ACTION"
        else (
            event["event"],
            numbers.setdefault(event["node"], len(numbers)),
            event["image"],
            event["nodes_with_ready_pod"],
            event["pods"],
        )
        for event in events
    ]


def _rhythm(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """All events in order, wherever they were."""
    return [(e["event"], e.get("nodes_with_ready_pod"), e.get("pods")) for e in events]


def _least_and_most(events: list[dict[str, Any]]) -> tuple[int | None, int | None]:
    seen = [event for event in events if event["event"] != "ACTION"]
    return (
        min((event["nodes_with_ready_pod"] for event in seen), default=None),
        max((event["pods"] for event in seen), default=None),
    )


def _pod_pattern(pods: list[dict[str, Any]]) -> Counter[tuple[tuple[str, bool, bool], ...]]:
    nodes: dict[str, list[tuple[str, bool, bool]]] = {}
    for pod in pods:
        state = (pod["image"], pod["ready"], pod["terminating"])
        nodes.setdefault(pod["node"], []).append(state)
    return Counter(tuple(sorted(states)) for states in nodes.values())


@pytest.fixture(params=TIMELINES, ids=lambda timeline: timeline["scenario"])
def timeline(request: pytest.FixtureRequest) -> dict[str, Any]:
    recorded: dict[str, Any] = request.param
    return recorded


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_embedded_controller_does_what_the_real_one_did(
    timeline: dict[str, Any], seed: int
) -> None:
    replay = Replay(timeline, seed)

    recorded = (timeline["least_nodes_with_ready_pod"], timeline["most_pods"])
    assert _least_and_most(replay.events) == recorded
    assert replay.final_status() == timeline["final_status"]
    assert _pod_pattern(replay.final_pods()) == _pod_pattern(timeline["final_pods"])
    assert _stories(replay.events) == _stories(timeline["events"])
    if timeline["scenario"] in RHYTHM:
        assert _rhythm(replay.events) == _rhythm(timeline["events"])
    if timeline["scenario"] in STRICT:
        assert _by_part(replay.events) == _by_part(timeline["events"])


def test_all_22_recorded_scenarios_are_replayed() -> None:
    assert len(TIMELINES) == 22
    assert set(STRICT) <= {timeline["scenario"] for timeline in TIMELINES}
