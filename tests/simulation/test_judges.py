"""The judges of stories see each rule broken: the program is made worse, one rule at a time."""

from __future__ import annotations

import pytest

from rollout.executor import rules
from rollout.executor.book import Book
from rollout.executor.runlog import RunLog
from rollout.executor.state import DaemonSetRun
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.resources import DAEMONSETS
from tests.simulation.faultworld import NEW, THERE, after_deletes, begin, spec
from tests.simulation.virtual import Command, World

OTHER = {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "x:1"}]}}}}


def ends(world: World, command: Command) -> None:
    world.wait_until(lambda: command.over)


def test_a_node_that_begins_after_a_word_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Book, "stopping", property(lambda _: False))
    monkeypatch.setattr(rules, "check", lambda _: None)
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        world.start("pause", "sim", *THERE)
        with pytest.raises(AssertionError, match=r"S6: process-0 begins node-00. after .*pause"):
            ends(world, command)


def test_a_node_that_begins_after_an_interrupt_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Book, "stopping", property(lambda _: False))
    monkeypatch.setattr(rules, "check", lambda _: None)
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        command.interrupt()
        with pytest.raises(AssertionError, match=r"S6: process-0 begins .* after its interrupt"):
            ends(world, command)


def test_a_node_that_begins_over_drift_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DaemonSetRun, "drift", lambda *_: "")
    with World(default_fleet(6, 1)) as world:
        command = begin(world, spec(health={"soak": 5, "nodeTimeout": "1m"}))
        after_deletes(world, 1)
        world.advance(1.0)  # so that its successor is of our template
        world.patch(DAEMONSETS, "log-agent", OTHER)
        with pytest.raises(AssertionError, match=r"S9: process-0 begins .* after the DaemonSet"):
            ends(world, command)


def test_a_second_try_that_nobody_asked_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    always = lambda _book, _ds, run: not run.reopened  # noqa: E731 - as if somebody had asked
    monkeypatch.setattr("rollout.executor.book.was_asked_before", always)
    with World(default_fleet(3, 1)) as world:
        world.cluster.set_image_fault(NEW, read_fault("unpullable"))
        with pytest.raises(AssertionError, match=r"S3: process-0 begins node-000 a second time"):
            ends(world, begin(world))


def test_a_write_that_the_journal_does_not_know_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunLog, "intend", lambda *_: True)
    with (
        World(default_fleet(3, 1)) as world,
        pytest.raises(AssertionError, match=r"S4: process-0 writes to log-agent without an intent"),
    ):
        ends(world, begin(world))


def test_a_delete_without_a_precondition_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.cluster.bodies.delete_options", lambda *_, **__: {})
    with (
        World(default_fleet(3, 1)) as world,
        pytest.raises(AssertionError, match=r"S2: delete of log-agent-\w+ without a UID"),
    ):
        ends(world, begin(world))
