"""Events are counted, combined and limited as client-go's recorder does it."""

from __future__ import annotations

import random

import pytest

from rollout.sim.clock import VirtualClock
from rollout.sim.controllers.events import LIFETIME, EventRecorder, Record
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import CONFIG_MAPS, EVENTS
from rollout.sim.store import Object, Store

CALLER = Caller("tester")


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.registry = Registry(Store(), self.clock, random.Random(1))
        self.object = self.registry.create(
            CONFIG_MAPS, "default", {"metadata": {"name": "c"}}, CALLER
        )
        recorder = EventRecorder(self.registry, self.clock)
        self._record: Record = recorder.recorder("tester", CALLER)

    def record(self, message: str, reason: str = "Reason") -> None:
        self._record(self.object, "Normal", reason, message)

    def events(self) -> list[Object]:
        return list(self.registry.store.scan(EVENTS, "default"))


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_names_its_object_and_its_source(world: World) -> None:
    world.record("something")
    (event,) = world.events()
    assert event["involvedObject"] == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "name": "c",
        "namespace": "default",
        "uid": world.object["metadata"]["uid"],
        "resourceVersion": world.object["metadata"]["resourceVersion"],
    }
    assert event["source"] == {"component": "tester"}
    assert event["reportingComponent"] == "tester"
    assert (event["count"], event["type"], event["reason"]) == (1, "Normal", "Reason")


def test_equal_events_are_counted(world: World) -> None:
    world.record("same")
    world.clock.advance(60)
    world.record("same")
    (event,) = world.events()
    assert event["count"] == 2
    assert event["lastTimestamp"] != event["firstTimestamp"]


def test_many_similar_events_are_combined(world: World) -> None:
    for number in range(14):
        world.record(f"message {number}")
    messages = [event["message"] for event in world.events()]
    assert len(messages) == 11
    combined = next(m for m in messages if m.startswith("(combined from similar events): "))
    assert combined.endswith("message 13")


def test_an_object_may_have_twenty_five_at_once_and_then_one_in_five_minutes(world: World) -> None:
    for number in range(40):
        world.record("m", reason=f"Reason{number}")
    assert len(world.events()) == 25
    world.clock.advance(300)
    world.record("m", reason="Late")
    world.record("m", reason="TooLate")
    assert len(world.events()) == 26


def test_events_are_gone_after_an_hour(world: World) -> None:
    world.record("short-lived")
    world.clock.advance(LIFETIME + 1)
    assert world.events() == []


def test_a_recorder_can_be_switched_off() -> None:
    world = World()
    silent = EventRecorder(world.registry, world.clock, enabled=False)
    silent.recorder("tester", CALLER)(world.object, "Normal", "R", "m")
    assert world.events() == []
