"""The store keeps versions, histories and past states."""

from __future__ import annotations

import pytest

from rollout.sim.resources import CONFIG_MAPS, NODES
from rollout.sim.store import Compacted, Event, Object, Store


def thing(name: str, value: int = 0) -> Object:
    return {"metadata": {"name": name}, "value": value}


def put(store: Store, name: str, value: int = 0) -> Object:
    return store.put(NODES, ("", name), thing(name, value))


def test_every_write_gets_the_next_version() -> None:
    store = Store()
    versions = [put(store, "a"), put(store, "b"), put(store, "a", 1)]
    assert [obj["metadata"]["resourceVersion"] for obj in versions] == ["2", "3", "4"]


def test_lists_come_in_the_order_of_names_whatever_was_first() -> None:
    store = Store()
    for name in ("c", "a", "b"):
        put(store, name)
    assert [obj["metadata"]["name"] for obj in store.scan(NODES)] == ["a", "b", "c"]
    assert [obj["metadata"]["name"] for obj in store.scan(NODES, after=("", "a"))] == ["b", "c"]


def test_what_has_gone_is_told_at_a_new_version_with_its_last_state() -> None:
    store = Store()
    seen: list[Event] = []
    put(store, "a", 7)
    store.subscribe(NODES, seen.append)
    store.remove(NODES, ("", "a"))
    assert [(event.type, event.version, event.object["value"]) for event in seen] == [
        ("DELETED", 3, 7)
    ]
    assert store.get(NODES, ("", "a")) is None


def test_a_subscriber_hears_nothing_after_it_has_left() -> None:
    store = Store()
    seen: list[Event] = []
    leave = store.subscribe(NODES, seen.append)
    put(store, "a")
    leave()
    put(store, "b")
    assert [event.key for event in seen] == [("", "a")]


def test_changes_since_a_version_are_those_behind_it() -> None:
    store = Store()
    put(store, "a")
    put(store, "b")
    put(store, "a", 1)
    assert [event.type for event in store.events_since(NODES, 2)] == ["ADDED", "MODIFIED"]


def test_the_past_can_be_seen_again() -> None:
    store = Store()
    put(store, "a", 1)
    put(store, "b")
    put(store, "a", 2)
    store.remove(NODES, ("", "b"))
    past = store.objects_at(NODES, 3)
    assert {key[1]: obj["value"] for key, obj in past.items()} == {"a": 1, "b": 0}


def test_compaction_forgets_the_past_of_everything() -> None:
    store = Store()
    put(store, "a")
    put(store, "a", 1)
    store.compact()
    put(store, "a", 2)
    with pytest.raises(Compacted):
        store.events_since(NODES, 2)
    assert len(store.events_since(NODES, 3)) == 1


def test_a_full_history_forgets_the_past_of_its_own_resource_only() -> None:
    store = Store(history=2)
    store.put(CONFIG_MAPS, ("default", "m"), thing("m"))
    for value in range(4):
        put(store, "a", value)
    with pytest.raises(Compacted):
        store.events_since(NODES, 2)
    assert store.events_since(CONFIG_MAPS, 2) == []
