"""Informers that deliver late and in order, queues that back off, delays that double."""

from __future__ import annotations

from collections.abc import Callable

from rollout.sim.clock import VirtualClock
from rollout.sim.controllers.indexedset import IndexedSet
from rollout.sim.controllers.workqueue import Backoff, Informer, WorkQueue
from rollout.sim.resources import CONFIG_MAPS, PODS
from rollout.sim.store import Event, Store


def put(store: Store, name: str) -> None:
    store.put(PODS, ("default", name), {"metadata": {"name": name, "namespace": "default"}})


def remember(worked: list[str]) -> Callable[[str], bool]:
    def work(key: str) -> bool:
        worked.append(key)
        return True

    return work


def test_an_informer_begins_with_what_is_there_and_goes_on_with_what_changes() -> None:
    clock, store = VirtualClock(), Store()
    batches: list[list[tuple[str, str]]] = []

    def handle(batch: list[Event]) -> None:
        batches.append([(event.type, event.key[1]) for event in batch])

    put(store, "a")
    informer = Informer(store, clock, (CONFIG_MAPS, PODS), 0.5, handle)
    informer.start()
    assert batches == [[("ADDED", "a")]]
    put(store, "b")
    store.remove(PODS, ("default", "a"))
    clock.advance(0.4)
    assert len(batches) == 1
    clock.advance(0.2)
    assert batches[1:] == [[("ADDED", "b"), ("DELETED", "a")]]


def test_a_stopped_informer_hears_nothing_not_even_what_is_on_its_way() -> None:
    clock, store = VirtualClock(), Store()
    batches: list[list[Event]] = []
    informer = Informer(store, clock, (PODS,), 0.5, batches.append)
    informer.start()
    put(store, "a")
    informer.stop()
    put(store, "b")
    clock.advance(5)
    assert batches == [[]]


def test_a_key_waits_once_however_often_it_is_added() -> None:
    clock = VirtualClock()
    worked: list[str] = []
    queue = WorkQueue(clock, remember(worked))
    for key in ("a", "b", "a"):
        queue.add(key)
    clock.advance(1)
    assert worked == ["a", "b"]


def test_a_key_that_fails_comes_back_later_and_later() -> None:
    clock = VirtualClock()
    times: list[float] = []
    start = clock.now()

    def fail(_: str) -> bool:
        times.append(round(clock.now() - start, 3))
        return len(times) >= 5

    WorkQueue(clock, fail).add("a")
    clock.advance(10)
    assert times == [0, 0.005, 0.015, 0.035, 0.075]


def test_of_several_delays_the_shortest_counts() -> None:
    clock = VirtualClock()
    times: list[float] = []
    start = clock.now()

    def note(_: str) -> bool:
        times.append(clock.now() - start)
        return True

    queue = WorkQueue(clock, note)
    for delay in (5.0, 3.0, 4.0):
        queue.add_after("a", delay)
    clock.advance(10)
    assert times == [3.0]


def test_a_stopped_queue_works_no_more() -> None:
    clock = VirtualClock()
    worked: list[str] = []
    queue = WorkQueue(clock, remember(worked))
    queue.add("a")
    queue.add_after("b", 1)
    queue.stop()
    queue.add("c")
    queue.add_after("d", 1)
    clock.advance(10)
    assert worked == []


def test_a_backoff_doubles_up_to_its_cap_and_is_forgotten() -> None:
    backoff: Backoff[str] = Backoff(1.0, 900.0)
    now, delays = 0.0, []
    for _ in range(12):
        backoff.step("a", now)
        delays.append(backoff.delay("a"))
        assert backoff.waiting("a", now)
        now += backoff.delay("a")
        assert not backoff.waiting("a", now)
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    backoff.step("a", now + 1801)
    assert backoff.delay("a") == 1


def test_idle_keys_are_collected() -> None:
    backoff: Backoff[str] = Backoff(1.0, 10.0)
    backoff.step("a", 0)
    backoff.collect(20)
    assert backoff.delay("a") == 1
    backoff.collect(21)
    assert backoff.delay("a") == 0


def test_an_indexed_set_keeps_its_places_when_a_name_goes() -> None:
    names = IndexedSet(["a", "b", "c"])
    names.discard("a")
    names.discard("x")
    names.add("b")
    assert sorted(names) == ["b", "c"]
    assert {names[0], names[1]} == {"b", "c"}
    assert "a" not in names
    names.clear()
    assert len(names) == 0
