"""The store against a model of itself: any order of writes, watches, compactions and looks back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from rollout.sim.resources import CONFIG_MAPS, NODES, PODS, Resource
from rollout.sim.store import Compacted, Event, Key, Object, Store

HISTORY = 6  # small, so that it overflows
KEYS = st.sampled_from([("", "n1"), ("", "n2"), ("a", "x"), ("a", "y"), ("b", "x")])
RESOURCES = st.sampled_from([PODS, NODES, CONFIG_MAPS])
State = dict[Key, dict[str, Any]]


class Watcher:
    """Builds the state of one resource from the events alone."""

    def __init__(self, resource: Resource, state: State) -> None:
        self.resource = resource
        self.state = dict(state)
        self.versions: list[int] = []

    def __call__(self, event: Event) -> None:
        assert event.resource is self.resource
        assert event.old == self.state.get(event.key)
        self.versions.append(event.version)
        if event.type == "DELETED":
            assert event.key in self.state
            del self.state[event.key]
        else:
            assert (event.type == "ADDED") == (event.key not in self.state)
            self.state[event.key] = event.object


class StoreMachine(RuleBasedStateMachine):
    """Writes by random, beside a model that keeps every state that there ever was."""

    watchers = Bundle("watchers")

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(history=HISTORY)
        self.now: dict[Resource, State] = {PODS: {}, NODES: {}, CONFIG_MAPS: {}}
        self.past: dict[int, dict[Resource, State]] = {self.store.version: self.snapshot()}
        self.changes: dict[Resource, list[int]] = {PODS: [], NODES: [], CONFIG_MAPS: []}
        self.listening: list[Watcher] = []

    def snapshot(self) -> dict[Resource, State]:
        return {resource: dict(state) for resource, state in self.now.items()}

    def written(self, resource: Resource) -> None:
        assert self.store.version == max(self.past) + 1, "each write takes the next version"
        self.past[self.store.version] = self.snapshot()
        self.changes[resource].append(self.store.version)

    @rule(resource=RESOURCES, key=KEYS, value=st.integers(0, 3))
    def put(self, resource: Resource, key: Key, value: int) -> None:
        before = self.now[resource].get(key)
        given: Object = {"metadata": {"name": key[1]}, "value": value}
        stored = self.store.put(resource, key, given)
        assert stored is not given, "what was given is not changed"
        assert "resourceVersion" not in given["metadata"]
        assert stored["metadata"]["resourceVersion"] == str(self.store.version)
        assert before is None or before["metadata"]["resourceVersion"] != str(self.store.version)
        self.now[resource][key] = stored
        self.written(resource)

    @rule(resource=RESOURCES, key=KEYS)
    def remove(self, resource: Resource, key: Key) -> None:
        if key not in self.now[resource]:
            with pytest.raises(KeyError):
                self.store.remove(resource, key)
            return
        last = self.store.remove(resource, key)
        assert last["metadata"]["resourceVersion"] == str(self.store.version)
        del self.now[resource][key]
        self.written(resource)

    @rule(target=watchers, resource=RESOURCES)
    def watch(self, resource: Resource) -> tuple[Watcher, Any]:
        watcher = Watcher(resource, self.now[resource])
        self.listening.append(watcher)
        return watcher, self.store.subscribe(resource, watcher)

    @rule(watch=consumes(watchers))
    def leave(self, watch: tuple[Watcher, Any]) -> None:
        watcher, stop = watch
        stop()
        stop()
        self.listening.remove(watcher)

    @rule(back=st.integers(0, 12))
    def compact(self, back: int) -> None:
        self.store.compact(max(1, self.store.version - back))

    @rule(resource=RESOURCES, back=st.integers(0, 12))
    def look_back(self, resource: Resource, back: int) -> None:
        version = max(1, self.store.version - back)
        later = [v for v in self.changes[resource] if v > version]
        kept = version >= self.store.compacted and len(later) <= HISTORY
        if not kept:
            with pytest.raises(Compacted):
                self.store.events_since(resource, version)
            return
        assert [e.version for e in self.store.events_since(resource, version)] == later
        assert self.store.objects_at(resource, version) == self.past[version][resource]

    @invariant()
    def everything_is_there_in_order(self) -> None:
        for resource, state in self.now.items():
            assert list(self.store.scan(resource)) == [state[key] for key in sorted(state)]
            assert self.store.count(resource) == len(state)
            for space in ("", "a", "b"):
                found = list(self.store.scan(resource, space))
                assert found == [state[key] for key in sorted(state) if key[0] == space]

    @invariant()
    def who_watches_knows_the_state(self) -> None:
        for watcher in self.listening:
            assert watcher.state == self.now[watcher.resource]
            assert watcher.versions == sorted(set(watcher.versions))


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_store = StoreMachine.TestCase
