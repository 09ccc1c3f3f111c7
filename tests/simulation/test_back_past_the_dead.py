"""A way back past nodes that are down, and a second try that somebody asked for."""

from __future__ import annotations

from rollout.errors import ExitCode
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.resources import PODS
from tests.simulation.faultworld import (
    NEW,
    THERE,
    after_deletes,
    begin,
    pod_on,
    spec,
)
from tests.simulation.virtual import SOMEBODY, World

OLD = "log-agent:2.3"
DEAD_S = 60.0  # after which everybody knows that a node is down


def test_a_node_that_died_with_the_new_pod_is_not_back_and_only_its_pod_is_named() -> None:
    with World(default_fleet(3, 1)) as world:
        command = begin(world)
        after_deletes(world, 2)
        command.interrupt()
        assert command.end() == ExitCode.PAUSED
        pod = pod_on(world, "node-000")["metadata"]["name"]
        world.cluster.lose_node("node-000")
        world.advance(DEAD_S)

        back = world.run("rollback", "sim", *THERE)

        assert back.code == ExitCode.ROLLBACK_INCOMPLETE
        assert "not back yet: node-000 (" in back.text
        by_hand = back.text.partition("By hand")[2].partition("\n\n")[0].splitlines()[1:]
        assert by_hand == [f"  kubectl delete pod {pod} -n logging"]


def test_a_pod_of_the_old_revision_that_a_dead_node_cannot_end_is_no_obstacle() -> None:
    """L2: its successor comes of the template that is back by then."""
    with World(default_fleet(3, 1)) as world:
        world.cluster.lose_node("node-002")
        world.advance(DEAD_S)
        command = begin(world)
        after_deletes(world, 1)
        command.interrupt()
        assert command.end() == ExitCode.PAUSED
        name = pod_on(world, "node-002")["metadata"]["name"]
        world.cluster.registry.delete(PODS, "logging", name, SOMEBODY)
        world.advance(DEAD_S)

        back = world.run("rollback", "sim", *THERE)

        assert "deletionTimestamp" in pod_on(world, "node-002")["metadata"]
        assert back.code == ExitCode.ROLLED_BACK, back.text


def test_a_way_back_that_waits_for_an_old_pod_to_end_says_so() -> None:
    with World(default_fleet(3, 1)) as world:
        world.cluster.set_image_fault(f"{OLD}@node-000", read_fault("stuck-terminating"))
        assert begin(world).end() == ExitCode.HELD
        stuck = pod_on(world, "node-000")["metadata"]["name"]

        back = world.start("rollback", "sim", *THERE)
        world.advance(45.0)
        seen = world.run("status", "sim", *THERE)
        world.cluster.clear_image_faults()
        back.kill()

        assert f"the old pod {stuck} is terminating" in back.text
        assert "has not created" not in back.text + seen.text


def test_one_word_is_one_try_also_when_another_process_hears_it() -> None:
    with World(default_fleet(3, 1)) as world:
        world.cluster.set_image_fault(NEW, read_fault("unpullable"))
        first = begin(world, spec(failure={"onFailure": "hold"}))
        assert first.end() == ExitCode.HELD
        world.run("retry", "sim", "--reason", "try it", *THERE)

        codes = [world.run(*first.arguments).code for _ in range(3)]

        assert codes == [ExitCode.HELD] * 3
        assert world.judge.deletes["log-agent", "node-000"] == 2, (
            "the first one, and one for the word"
        )
