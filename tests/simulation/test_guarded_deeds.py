"""One story for each guard that no other test would miss: what it keeps from happening."""

from __future__ import annotations

import errno
import os
from typing import Any

import msgspec
import pytest

from rollout.sim.faultfile import Script, read_faults
from rollout.sim.fleetfile import DaemonSetEntry, default_fleet, read_fault
from rollout.sim.registry import DeleteOptions
from rollout.sim.resources import LEASES
from tests.simulation.virtual import SOMEBODY, Command, World

NEW = "log-agent:2.4"


def faults(text: str) -> Script:
    return read_faults(None, text)


def spec(limit: int = 1, **more: Any) -> dict[str, Any]:
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": NEW}}},
        "strategy": {"maxUnavailable": limit},
    }
    return {
        "daemonSets": [item],
        "waves": "fast",
        "health": {"soak": 1, "nodeTimeout": "1m"},
        **more,
    }


def begin(world: World, body: dict[str, Any]) -> Command:
    path = world.save(world.plan(body))
    world.begin_faults()
    return world.start("apply", path)


def test_every_delete_names_a_uid_and_every_write_has_its_record() -> None:
    with World(default_fleet(3, 1)) as world:
        assert begin(world, spec()).end() == 0

        assert sorted(world.judge.deletes.values()) == [1, 1, 1]
        assert len(world.judge.writes) == 5


def test_a_process_whose_lock_ran_out_writes_nothing() -> None:
    script = faults(
        """
        faults:
        - {name: lease, match: {verbs: [update], resources: [leases]}, from: 1, refuse: true,
           until: 90}
        """
    )
    with World(default_fleet(8, 1), faults=script) as world:
        command = begin(world, spec(health={"soak": 5, "nodeTimeout": "1m"}))
        world.advance(60.0)
        before = world.judge.deletes.total()
        world.advance(25.0)

        assert world.injector.counters["lease"].hits > 5
        assert world.judge.deletes.total() == before < 8
        assert command.end() == 0


def test_a_lease_that_somebody_deletes_lets_no_second_run_write_beside_the_first() -> None:
    with World(default_fleet(8, 1)) as world:
        first = begin(world, spec(health={"soak": 5, "nodeTimeout": "1m"}))
        world.wait_until(lambda: world.judge.deletes.total() == 2)
        (lease,) = world.cluster.store.scan(LEASES, "logging")
        name = lease["metadata"]["name"]
        world.cluster.registry.delete(LEASES, "logging", name, SOMEBODY, DeleteOptions())
        second = world.start(*first.arguments)
        world.advance(14.0)

        assert "was deleted while a run held it" in second.text
        assert first.code == 7
        before = world.judge.deletes.total()
        assert second.end() == 0
        assert before < world.judge.deletes.total() == 8
        assert set(world.judge.deletes.values()) == {1}


def test_a_write_whose_line_is_not_on_the_disk_does_not_go_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with World(default_fleet(6, 1)) as world:
        command = begin(world, spec())
        world.wait_until(lambda: world.judge.deletes.total() == 2)
        monkeypatch.setattr(os, "fsync", full)
        code = command.end()
        monkeypatch.undo()

        assert code == 3
        assert "No space left on device" in command.text
        assert world.judge.deletes.total() == 2


def test_a_delete_that_was_never_sent_is_sent_again() -> None:
    script = faults(
        "faults: [{name: cut, match: {verbs: [delete]}, refuse: true, count: 2}]",
    )
    with World(default_fleet(3, 1), faults=script) as world:
        assert begin(world, spec()).end() == 0

        assert world.injector.counters["cut"].hits == 2
        assert sorted(world.judge.deletes.values()) == [1, 1, 1]


def test_an_answer_that_comes_when_its_node_has_left_changes_nothing() -> None:
    script = faults("faults: [{name: slow, match: {verbs: [delete]}, delay: 5s, count: 1}]")
    with World(default_fleet(5, 1), faults=script) as world:
        command = begin(world, spec(health={"soak": 40, "nodeTimeout": "2m"}))
        world.wait_until(lambda: world.judge.deletes.total() == 1)
        world.advance(0.5)
        (gone,) = [node for _, node in world.judge.deletes]
        world.cluster.remove_node(gone)

        assert command.end() == 0
        assert world.injector.counters["slow"].hits == 1
        assert sorted(world.judge.deletes.values()) == [1] * 5
        assert "has not replaced" not in command.text


def test_a_pod_that_flaps_soaks_anew() -> None:
    with World(default_fleet(3, 1)) as world:
        flapping = {"kind": "flap", "after": "3s", "lasts": "1s"}
        world.cluster.set_image_fault(NEW, read_fault(flapping))
        body = spec(health={"soak": 5, "nodeTimeout": "1m"})

        assert begin(world, body).end() == 3
        assert world.judge.deletes.total() == 1


def test_what_is_down_for_another_reason_uses_the_budget_too() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world, spec(waves=[{"name": "all"}]))
        world.wait_until(lambda: world.judge.deletes.total() == 2)
        first = next(node for _, node in world.judge.deletes)
        world.cluster.set_image_fault(f"{NEW}@{first}", read_fault("never-ready"))
        world.advance(45.0)

        assert world.judge.deletes.total() <= 3
        assert command.code is None
        world.cluster.clear_image_faults()
        assert command.end() == 0


def test_what_was_down_before_is_replaced_at_the_same_pace() -> None:
    with World(default_fleet(6, 1)) as world:
        for number in range(4):
            key = f"log-agent:2.3@node-{number:03d}"
            world.cluster.set_image_fault(key, read_fault("never-ready"))
        world.advance(60.0)
        command = begin(world, spec(nodes={"deferNotReady": False}, waves=[{"name": "all"}]))
        world.wait_until(lambda: world.judge.deletes.total() >= 1)
        world.advance(1.0)

        assert world.judge.deletes.total() == 1
        assert command.end() == 0


def test_two_daemon_sets_take_turns_on_every_node() -> None:
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1") for name in ("one", "two")
    )
    fleet = msgspec.structs.replace(default_fleet(4, 1), daemon_sets=entries)
    items = [
        {
            "name": name,
            "target": {"set": {"image": {"agent": f"{name}:2"}}},
            "strategy": {"maxUnavailable": 2},
        }
        for name in ("one", "two")
    ]
    with World(fleet) as world:
        assert begin(world, {**spec(), "daemonSets": items, "waves": [{"name": "all"}]}).end() == 0

        assert len(world.judge.deletes) == 8


def test_a_run_that_is_held_by_what_it_finds_touches_nothing_more() -> None:
    with World(default_fleet(6, 1)) as world:
        for number in range(2):
            world.cluster.set_image_fault(f"{NEW}@node-{number:03d}", read_fault("unpullable"))
        body = spec(3, waves=[{"name": "all"}], health={"soak": 30, "nodeTimeout": "2m"})
        command = begin(world, body)
        world.wait_until(lambda: world.judge.deletes.total() == 3)
        command.kill()
        world.advance(200.0)

        assert world.run(*command.arguments).code == 3
        assert world.judge.deletes.total() == 3
