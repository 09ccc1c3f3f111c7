"""A lagging server, or a cache before it, shows what was: no run takes that for what is."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    NodeGroup,
    UpdateStrategy,
    read_fault,
)
from tests.simulation.virtual import Command, World

NEW = "log-agent:2"
OLD_LISTS = "faults: [{name: old, match: {verbs: [list], resources: [pods]}, stale: 5s, until: 60}]"
OLD_READS = """
faults:
- {name: old, match: {verbs: [get, list], resources: [daemonsets]}, stale: 5s, until: 60}
"""


def world(script: str, *, kind: str = "OnDelete") -> World:
    """Return a world whose DaemonSet is replaced only by who deletes its pods."""
    daemon_set = DaemonSetEntry(
        name="log-agent",
        namespace="logging",
        image="log-agent:1",
        strategy=UpdateStrategy(type=kind),
    )
    nodes = (NodeGroup(name="n-{}", count=3),)
    fleet = Fleet(seed=3, nodes=nodes, daemon_sets=(daemon_set,))
    return World(fleet, seed=3, faults=read_faults(None, script))


def begin(world: World, **more: Any) -> Command:
    world.advance(20.0)
    target = {"set": {"image": {"agent": NEW}}}
    strategy = {"type": "RollingUpdate", "maxUnavailable": 1}
    item = {"name": "log-agent", "target": target, "strategy": strategy}
    body = {"daemonSets": [item], "waves": "fast", "health": {"soak": 1, "nodeTimeout": "1m"}}
    path = world.save(world.plan({**body, **more}))
    world.begin_faults()
    return world.start("apply", path)


def images(world: World) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in world.pods()}


def test_updates_41_a_way_back_does_not_believe_in_pods_that_the_run_took_away() -> None:
    with world(OLD_LISTS) as there:
        there.cluster.set_image_fault(NEW, read_fault("unpullable"))
        command = begin(there, failure={"onFailure": "rollback"})

        assert command.end() == 4
        assert there.injector.counters["old"].hits
        assert images(there) == {"log-agent:1"}


@pytest.mark.parametrize("kind", ["OnDelete", "RollingUpdate"])
def test_faults_15_a_rollback_behind_a_killed_run_ends_where_it_says(kind: str) -> None:
    with world(OLD_LISTS, kind=kind) as there:
        killed = begin(there)
        there.wait_until(lambda: there.judge.deletes.total() == 2)
        killed.kill()
        back = there.run("rollback", "sim", "-n", "logging")

        assert there.injector.counters["old"].hits
        assert back.code == 4, back.text
        there.advance(60.0)
        assert images(there) == {"log-agent:1"}


@pytest.mark.parametrize("kind", ["OnDelete", "RollingUpdate"])
def test_faults_15_a_rollback_sees_the_patch_that_an_old_read_hides(kind: str) -> None:
    with world(OLD_READS, kind=kind) as there:
        killed = begin(there)
        there.wait_until(lambda: there.judge.deletes.total() == 1)
        killed.kill()
        back = there.run("rollback", "sim", "-n", "logging")

        assert there.injector.counters["old"].hits
        assert back.code == 4, back.text
        template = there.daemon_set()["spec"]["template"]
        assert template["spec"]["containers"][0]["image"] == "log-agent:1"
        there.advance(60.0)
        assert images(there) == {"log-agent:1"}
