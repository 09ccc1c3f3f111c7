"""The judges of stories see each rule broken: the program is made worse, one rule at a time."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from rollout.executor.engine import health, rules
from rollout.executor.engine.book import Book
from rollout.executor.engine.state import DaemonSetRun, Lane, StepRun
from rollout.executor.runlog import RunLog
from rollout.fleet.objects import Node
from rollout.planner.plan import HealthRules
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.resources import DAEMONSETS
from tests.simulation.faultworld import NEW, THERE, after_deletes, begin, spec
from tests.simulation.network import TOKEN
from tests.simulation.secretoracle import check_secrets
from tests.simulation.virtual import Command, World

OLD = "log-agent:2.3"
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
    monkeypatch.setattr("rollout.executor.engine.book.was_asked_before", always)
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


def test_a_budget_that_is_overdrawn_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DaemonSetRun, "has_room", lambda *_: True)
    with (
        World(default_fleet(3, 1)) as world,
        pytest.raises(AssertionError, match=r"S1: .* are down by us, 1 may be"),
    ):
        ends(world, begin(world))


def test_a_budget_that_leaves_out_what_others_broke_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = lambda ds, run, _: run.lane is Lane.VERIFY or not ds.view.held  # noqa: E731 - as a rule
    monkeypatch.setattr(DaemonSetRun, "has_room", own)
    waves = [{"name": "first", "size": 2}, {"name": "rest"}]
    with World(default_fleet(4, 1)) as world:
        command = begin(world, spec(waves=waves))
        after_deletes(world, 1)
        down = read_fault({"kind": "flap", "after": "100ms", "lasts": "10m"})
        world.cluster.set_image_fault(f"{OLD}@node-003", down)
        with pytest.raises(AssertionError, match=r"S1: .* while \['node-003'\] are down, 1 may be"):
            ends(world, command)


def test_nodes_that_are_down_and_replaced_all_at_once_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = lambda ds, run, _: run.lane is Lane.VERIFY or run.node in ds.view.used  # noqa: E731
    monkeypatch.setattr(DaemonSetRun, "has_room", used)
    with World(default_fleet(4, 1)) as world:
        world.cluster.set_image_fault(OLD, read_fault("crash"))
        world.advance(60.0)
        with pytest.raises(AssertionError, match=r"S1: .* hold a slot at once, 1 may"):
            ends(world, begin(world))


@pytest.mark.parametrize("strategy", [{"maxUnavailable": 1}, {"maxUnavailable": 0, "maxSurge": 1}])
def test_a_soak_that_nobody_waits_for_is_seen(
    strategy: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = health._progress

    def impatient(
        run: StepRun, ds: DaemonSetRun, node: Node | None, now: float, rules: HealthRules
    ) -> health.Verdict:
        return progress(run, ds, node, now, replace(rules, soak_s=0.0))

    monkeypatch.setattr(health, "_progress", impatient)
    body = spec(health={"soak": 20, "nodeTimeout": "1m"})
    body["daemonSets"][0]["strategy"] = strategy
    wrong = r"S1: .* hold a slot at once, 1 may|S1: .* ends a hand-over on \S+ before its soak"
    with World(default_fleet(3, 1)) as world, pytest.raises(AssertionError, match=wrong):
        ends(world, begin(world, body))


def test_a_patch_over_drift_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DaemonSetRun, "drift", lambda *_: "")
    with World(default_fleet(2, 1)) as world:
        command = begin(world)
        after_deletes(world, 2)
        world.patch(
            DAEMONSETS, "log-agent", {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
        )
        with pytest.raises(AssertionError, match=r"S9: log-agent is patched over .*RollingUpdate"):
            ends(world, command)


def test_a_token_that_gets_into_an_output_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Book.tell
    loud = lambda book, notice: said(book, dataclasses.replace(notice, message=TOKEN))  # noqa: E731
    with World(default_fleet(1, 1)) as world:
        ends(world, begin(world))
        check_secrets(world.machine, world.cluster.store)
    monkeypatch.setattr(Book, "tell", loud)
    with World(default_fleet(1, 1)) as world:
        ends(world, begin(world))
        with pytest.raises(AssertionError, match="the token stands in what process-0 said"):
            check_secrets(world.machine, world.cluster.store)
