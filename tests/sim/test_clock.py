"""Virtual time moves when it is told to; real time runs callbacks on its own thread."""

from __future__ import annotations

import threading

import pytest

from rollout.sim.clock import RealClock, VirtualClock


def test_callbacks_run_in_the_order_of_their_time() -> None:
    clock = VirtualClock(100.0)
    seen: list[tuple[str, float]] = []
    for name, delay in (("late", 3.0), ("early", 1.0), ("also early", 1.0)):
        clock.call_later(delay, lambda name=name: seen.append((name, clock.now())))  # type: ignore[misc]  # no type for `name=`
    clock.advance(2.0)
    assert seen == [("early", 101.0), ("also early", 101.0)]
    assert clock.now() == 102.0


def test_a_cancelled_callback_never_runs() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    clock.call_later(1.0, lambda: seen.append(1)).cancel()
    clock.advance(5.0)
    assert seen == []
    assert clock.next_due() is None


def test_a_callback_may_ask_for_another_in_the_same_instant() -> None:
    clock = VirtualClock()
    seen: list[str] = []

    def outer() -> None:
        clock.call_later(0, lambda: seen.append("inner"))

    clock.call_later(0, outer)
    clock.advance(0)
    assert seen == ["inner"]


def test_running_until_a_condition_stops_right_there() -> None:
    clock = VirtualClock(0.0)
    seen: list[int] = []
    for second in range(1, 10):
        clock.call_later(second, lambda: seen.append(1))
    assert clock.run_until(lambda: len(seen) == 4, timeout=100)
    assert clock.now() == 4.0
    assert not clock.run_until(lambda: len(seen) == 40, timeout=20)
    assert clock.now() == 24.0


def test_a_real_clock_runs_callbacks_under_the_lock() -> None:
    lock = threading.RLock()
    clock = RealClock(lock)
    done = threading.Event()
    names: list[str] = []

    def callback() -> None:
        names.append(threading.current_thread().name)
        done.set()

    clock.start()
    try:
        with lock:
            clock.call_later(0.0, callback)
            assert names == []
        assert done.wait(60)
    finally:
        clock.stop()
    assert names == ["sim-clock"]


def test_a_stopped_real_clock_runs_nothing_any_more() -> None:
    clock = RealClock(threading.RLock())
    clock.start()
    seen: list[int] = []
    clock.call_later(60.0, lambda: seen.append(1))
    clock.stop()
    assert seen == []
    assert all(thread.name != "sim-clock" for thread in threading.enumerate())


def test_a_callback_that_fails_is_reported_and_the_others_still_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = RealClock(threading.RLock())
    done = threading.Event()

    def fail() -> None:
        raise ValueError("broken part")

    clock.start()
    try:
        clock.call_later(0.0, fail)
        clock.call_later(0.0, done.set)
        assert done.wait(60)
    finally:
        clock.stop()
    assert "ValueError: broken part" in caplog.text


def test_a_callback_that_fails_stops_virtual_time_where_it_is() -> None:
    clock = VirtualClock(0.0)
    clock.call_later(3.0, [].pop)
    with pytest.raises(IndexError):
        clock.advance(10)
    assert clock.now() == 3.0
