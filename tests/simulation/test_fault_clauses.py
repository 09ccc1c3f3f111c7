"""What a numbered fault promises beside the run's end, clause by clause."""

from __future__ import annotations

import errno
import json
import os
from functools import partial

import pytest

from rollout.errors import ExitCode
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.registry import PatchType
from rollout.sim.resources import NAMESPACES, PODS
from tests.simulation.faultworld import NEW, after_deletes, begin, pod_on, spec, strike
from tests.simulation.virtual import SOMEBODY, World


def test_fault_24_a_node_that_joins_is_listed_in_the_report_and_counts_in_no_budget() -> None:
    with World(default_fleet(4, 1)) as world:
        path = world.save(world.plan(spec()))
        command = world.start("apply", path, "-o", "jsonl")
        after_deletes(world, 1)
        strike(world, command, lambda: world.cluster.join_node("node-new", zone="zone-a"))

        assert command.end() == ExitCode.DONE
        *_, last = map(json.loads, command.text.splitlines())
        assert last["joined"] == ["node-new"]
        assert "node-new" not in {node["node"] for node in last["nodes"]}


def test_fault_31_while_others_use_up_the_budget_the_run_waits_and_fails_nothing() -> None:
    """Updated nodes whose pods others take down are nothing that it could replace."""
    with World(default_fleet(6, 1)) as world:
        command = begin(world, spec(1, health={"soak": 1, "nodeTimeout": "30m"}))
        after_deletes(world, 2)
        world.advance(3.0)
        done = next(node for _, node in world.judge.deletes)
        assert pod_on(world, done)["spec"]["containers"][0]["image"] == NEW
        down = read_fault({"kind": "never-ready"})
        world.cluster.set_image_fault(f"{NEW}@{done}", down)
        name = pod_on(world, done)["metadata"]["name"]
        strike(world, command, lambda: evicted(world, name))
        world.advance(10.0)
        before = world.judge.deletes.total()
        world.advance(120.0)
        assert world.judge.deletes.total() == before < 6, "the budget is used up by others"
        assert not command.over
        world.cluster.set_image_fault(f"{NEW}@{done}", None)

        assert command.end() == ExitCode.DONE, command.text
        assert "FAILED" not in command.text


def evicted(world: World, name: str) -> None:
    """Let a pod end as the kubelet ends one under pressure."""
    status = {"status": {"phase": "Failed", "reason": "Evicted"}}
    world.cluster.registry.patch(
        PODS, "logging", name, status, PatchType.MERGE, SOMEBODY, subresource="status"
    )


def test_fault_35_an_image_that_no_registry_gives_away_stops_at_the_canary() -> None:
    with World(default_fleet(12, 1)) as world:
        world.cluster.set_image_fault(NEW, read_fault("unpullable"))
        waves = [{"name": "canary", "size": 2}, {"name": "rest"}]
        command = begin(world, spec(4, waves=waves))

        assert command.end() == ExitCode.HELD
        exposed = [p for p in world.pods() if p["spec"]["containers"][0]["image"] == NEW]
        assert 0 < len(exposed) == world.judge.deletes.total() <= 2
        assert "ErrImagePull" in command.text or "ImagePullBackOff" in command.text
        assert "1 node failed (maxFailures 0)" in command.text  # and not the end of the wave


@pytest.mark.parametrize("good", [5, 9])
def test_fault_43_a_disk_that_cannot_sync_is_asked_no_second_time(
    monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    real, calls = os.fsync, []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > good:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with World(default_fleet(6, 1)) as world:
        path = world.save(world.plan(spec()))
        monkeypatch.setattr(os, "fsync", failing)
        command = world.start("apply", path)

        assert command.end() == ExitCode.HELD
        assert len(calls) == good + 1, "what failed once is not asked again"
        assert "Input/output error; nothing is written to the cluster without it" in command.text
        before = world.judge.deletes.total()
        assert 0 < before < 6
        monkeypatch.setattr(os, "fsync", real)
        assert world.run("apply", path).code == ExitCode.DONE
        assert sorted(world.judge.deletes.values()) == [1] * 6


def test_fault_56_a_share_of_nodes_is_one_of_those_that_are_left() -> None:
    """As Kubernetes resolves it at each look, but never more than the plan has said."""
    with World(default_fleet(9, 1)) as world:
        waves = [{"name": "canary", "size": 1}, {"name": "rest"}]
        command = begin(world, spec("34%", waves=waves))
        after_deletes(world, 1)
        for number in range(4, 9):
            strike(world, command, partial(world.cluster.remove_node, f"node-{number:03d}"))
        most = 0

        def over() -> bool:
            nonlocal most
            most = max(most, len(world.judge._by_us))
            return command.over

        world.wait_until(over)
        assert command.code == ExitCode.DONE
        assert most == 2, "34% of 4; it were 4 of the 9 before"
        assert world.judge.deletes.total() == 4


def test_fault_56_a_node_that_left_while_nobody_was_at_work_uses_up_no_budget() -> None:
    """It was of the target already, so that the plan has no step for it."""
    with World(default_fleet(6, 1)) as world:
        first = begin(world)
        after_deletes(world, 3)
        first.interrupt()
        assert first.end() == ExitCode.PAUSED
        second = begin(world)
        after_deletes(world, 4)
        second.kill()
        current = next(node for _, node in world.judge.deletes)
        world.cluster.remove_node(current)
        world.advance(60.0)
        again = world.run(*second.arguments)

        assert again.code == ExitCode.DONE, again.text
        assert world.judge.deletes.total() == 6


def test_fault_36_a_namespace_that_goes_away_ends_the_run_with_its_cause() -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        registry = world.cluster.registry
        strike(world, command, lambda: registry.delete(NAMESPACES, "", "logging", SOMEBODY))
        began = world.clock.now()

        assert command.end() == ExitCode.STALE, command.text
        assert world.clock.now() - began < 60.0
        assert "FAILED" not in command.text
        assert "DaemonSet log-agent" in command.text.partition("stopping: ")[2]
        assert world.judge.deletes.total() <= 2


def test_fault_51_a_fleet_that_is_already_unhealthy_is_not_touched() -> None:
    with World(default_fleet(20, 1)) as world:
        world.cluster.set_image_fault("log-agent:2.3@node-007", read_fault("never-ready"))
        world.advance(30.0)
        down = pod_on(world, "node-007")
        assert not any(
            c["type"] == "Ready" and c["status"] == "True" for c in down["status"]["conditions"]
        )
        gate = {"name": "baseline", "kind": "pods", "at": "preflight", "deadline": "1m"}
        command = begin(world, spec(gates=[gate]))

        assert command.end() == ExitCode.HELD, command.text
        assert "already unhealthy: 1 of 20 pods are unavailable before the start" in command.text
        assert not world.judge.writes
        world.cluster.set_image_fault("log-agent:2.3@node-007", None)
        world.advance(30.0)
        assert world.run(*command.arguments).code == ExitCode.DONE
