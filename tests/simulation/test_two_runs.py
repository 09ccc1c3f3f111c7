"""Two runs on different DaemonSets of the same nodes: one at a time on each, one limit for both.

Whole `apply` commands on virtual time.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.fleet.objects import Pod
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_fleet, default_nodes, read_fault
from rollout.sim.resources import CONFIG_MAPS
from tests.simulation.faultworld import after_deletes, spec
from tests.simulation.nodejudge import NodeJudge
from tests.simulation.virtual import Command, World

SETS = ("log-agent", "metrics-agent")


def two_sets(nodes: int, zones: int = 2) -> Fleet:
    """Return a fleet with two DaemonSets on all nodes."""
    sets = tuple(DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1") for name in SETS)
    return Fleet(nodes=default_nodes(nodes, zones), daemon_sets=sets)


def begin(world: World, name: str, **spec: Any) -> Command:
    """Start the rollout of one DaemonSet."""
    body = {
        "daemonSets": [
            {
                "name": name,
                "target": {"set": {"image": {"agent": f"{name}:2"}}},
                "strategy": {"maxUnavailable": 3},
            }
        ],
        "waves": ["100%"],
        "health": {"soak": 1},
        **spec,
    }
    plan = world.plan(body, name=f"roll-{name}")
    return world.start("apply", world.save(plan, f"{name}.json"))


def updated(world: World, name: str) -> int:
    """Return how many nodes have a ready pod of the new image."""
    return sum(
        pod["spec"]["containers"][0]["image"] == f"{name}:2" and msgspec.convert(pod, Pod).ready
        for pod in world.pods()
    )


def record(world: World, name: str) -> dict[str, Any]:
    found = world.cluster.store.get(CONFIG_MAPS, ("logging", f"rollout-roll-{name}"))
    assert found is not None, name
    read: dict[str, Any] = msgspec.json.decode(found["data"]["record"])
    return read


@pytest.mark.parametrize("seed", range(6))
def test_nodes_10_two_runs_never_work_on_one_node_at_once(seed: int) -> None:
    with World(two_sets(9), seed=seed) as world:
        world.advance(5.0)
        judge = NodeJudge(world.cluster.store)
        runs = [begin(world, name) for name in SETS]

        assert [run.end() for run in runs] == [0, 0]

        assert judge.shared == []
        assert [updated(world, name) for name in SETS] == [9, 9]


@pytest.mark.parametrize("seed", range(4))
def test_nodes_10_one_limit_of_nodes_in_flight_holds_for_both_runs(seed: int) -> None:
    with World(two_sets(12), seed=seed) as world:
        world.advance(5.0)
        judge = NodeJudge(world.cluster.store)
        runs = [begin(world, name, limits={"maxNodesInFlight": 3}) for name in SETS]

        assert [run.end() for run in runs] == [0, 0]

        assert judge.shared == []
        assert judge.most == 3
        assert [updated(world, name) for name in SETS] == [12, 12]


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_was_killed_keeps_nobody_waiting_once_its_lease_has_run_out(seed: int) -> None:
    with World(two_sets(9), seed=seed) as world:
        world.advance(5.0)
        judge = NodeJudge(world.cluster.store)
        first, second = [begin(world, name) for name in SETS]
        world.wait_until(lambda: len(judge.down_by(SETS[0])) == 3 and bool(judge.down_by(SETS[1])))
        claimed = set(record(world, SETS[0])["claims"])
        first.kill()
        killed_at = world.clock.now()

        assert second.end() == 0

        assert claimed >= judge.down_by(SETS[0])
        assert 15.0 < world.clock.now() - killed_at < 60.0
        assert judge.shared == []
        assert updated(world, SETS[1]) == 9
        assert world.run("apply", world.path(f"{SETS[0]}.json")).code == 0
        assert updated(world, SETS[0]) == 9


@pytest.mark.parametrize("seed", range(4))
def test_a_way_back_beside_another_run_comes_to_its_end_and_so_does_that(seed: int) -> None:
    with World(two_sets(8), seed=seed) as world:
        world.advance(5.0)
        world.cluster.set_image_fault("log-agent:2@node-005", read_fault("crash"))
        judge = NodeJudge(world.cluster.store)
        back = begin(world, SETS[0], failure={"maxFailures": 0, "onFailure": "rollback"})
        other = begin(world, SETS[1])

        assert [back.end(), other.end()] == [4, 0]

        assert set(judge.shared) <= {"node-005"}  # it had failed, and nobody worked on it
        assert [updated(world, name) for name in SETS] == [0, 8]


def took(*names: str) -> float:
    """Return how long the rollouts of DaemonSets take together, each on nodes of its own."""
    with World(two_sets(8), seed=3) as world:
        world.advance(5.0)
        began = world.clock.now()
        theirs = {SETS[0]: range(4, 8), SETS[1]: range(4)}
        left_out = {name: [f"node-00{i}" for i in theirs[name]] for name in names}
        runs = [begin(world, name, nodes={"exclude": left_out[name]}) for name in names]
        assert [run.end() for run in runs] == [12] * len(names)  # with nodes that were left out
        return world.clock.now() - began


def test_two_runs_on_other_nodes_do_not_wait_for_each_other() -> None:
    assert took(*SETS) < max(took(name) for name in SETS) + 1.0


def test_an_apply_that_is_locked_out_writes_no_event_that_the_run_at_work_has_numbered() -> None:
    with World(default_fleet(4, 1)) as world:
        path = world.save(world.plan(spec()))
        world.begin_faults()
        first = world.start("apply", path, "-o", "jsonl")
        after_deletes(world, 1)
        second = world.run("apply", path, "-o", "jsonl")
        assert second.code == ExitCode.LOCKED, second.text
        assert first.end() == ExitCode.DONE
        events = [json.loads(line) for line in first.text.splitlines()]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert events[0]["type"] == "version"
        assert not [line for line in second.text.splitlines() if line.startswith("{")]
