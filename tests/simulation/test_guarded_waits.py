"""What is waited for, and from when on: guards of the times of a node, taken away once each."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from rollout.errors import ExitCode
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Outcome
from rollout.fleet import marks
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import PatchType
from rollout.sim.requests import Request
from rollout.sim.resources import CONFIG_MAPS, PODS, Resource
from rollout.sim.store import Event
from tests.simulation import world as engineworld
from tests.simulation.faultworld import NEW, THERE, AtTheFirst, after_deletes, begin, spec
from tests.simulation.threads import Process
from tests.simulation.virtual import World
from tests.simulation.world import SOMEBODY

OLD = "log-agent:2.3"


def test_a_way_back_waits_until_the_pod_beside_the_one_taken_back_is_gone() -> None:
    slow = replace(default_fleet(2, 1), default_behaviour=Behaviour(stop=Timing(20.0)))
    with World(slow) as world:
        world.cluster.set_image_fault(NEW, read_fault("never-ready"))
        body = spec(failure={"onFailure": "rollback"}, health={"soak": 1, "nodeTimeout": "30s"})
        body["daemonSets"][0]["strategy"] = {"maxUnavailable": 0, "maxSurge": 1}

        assert begin(world, body).end() == ExitCode.ROLLED_BACK
        assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {OLD}


def test_no_later_wave_goes_on_while_a_node_is_tried_again() -> None:
    soak_s = 10
    body = spec(
        2,
        waves=[{"name": "first", "size": 2}, {"name": "rest"}],
        health={"soak": soak_s, "nodeTimeout": "1m"},
        failure={"maxFailures": 2},
    )
    with World(default_fleet(8, 1)) as world:
        deletes = world.judge.deletes
        world.cluster.set_image_fault(f"{NEW}@node-000", read_fault("crash"))
        command = begin(world, body)
        after_deletes(world, 3)
        world.cluster.clear_image_faults()
        world.run("retry", "sim", *THERE)
        world.wait_until(lambda: deletes["log-agent", "node-000"] == 2)
        before = deletes.total()
        world.advance(soak_s)

        assert deletes.total() == before
        assert command.end() == ExitCode.DONE, command.text
        assert deletes.total() == 9


def test_a_released_pod_that_ended_while_nobody_looked_is_not_waited_for() -> None:
    surge = {"maxUnavailable": 0, "maxSurge": 1}
    item = {"name": "log-agent", "target": engineworld.TARGET, "strategy": surge}
    world = engineworld.World(1, daemonSets=[item])
    tell, dropped = world.run._later, list[ev.Event]()

    def with_a_gap(event: ev.Event, resource: Resource) -> None:
        if isinstance(event, ev.ReleasedSeen | ev.ReleasedGone):
            dropped.append(event)
        else:
            tell(event, resource)

    def end(name: str) -> None:
        world.cluster.registry.delete(PODS, "logging", name, SOMEBODY)

    def end_it(event: Event) -> None:
        meta = event.object["metadata"]
        if event.type != "DELETED" and marks.RELEASED_FROM in meta["labels"]:
            stop()
            world.cluster.clock.call_later(0.01, lambda: end(meta["name"]))

    vars(world.run)["_later"] = with_a_gap
    stop = world.cluster.store.subscribe(PODS, end_it)
    world.oracle.close()  # it is somebody else who leaves the node without a pod
    world.advance(30.0)
    assert len(dropped) > 1
    world.run._take(ev.ReleasedListed("log-agent", ()))

    assert world.finish().outcome is Outcome.DONE


def test_an_abort_that_comes_while_the_end_is_written_is_how_the_run_ends() -> None:
    with World(default_fleet(2, 1)) as world:
        world.cluster.set_image_fault(NEW, read_fault("crash"))
        last = AtTheLastRecord(world)

        assert begin(world).end() == ExitCode.HELD

        assert last.struck == 1
        assert [record["phase"] for record in world.judge.wrote.records()] == ["aborted"]


class AtTheLastRecord(AtTheFirst):
    """Lets somebody abort right before the record of a run that is held is served."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "PUT", "/configmaps/", self._abort)

    def before(self, process: Process, request: Request) -> None:
        if request.method != "PUT" or b'\\"phase\\":\\"held\\"' in request.body:
            super().before(process, request)

    def _abort(self, request: Request) -> None:
        name = request.path.rpartition("/")[2]
        found = self._world.cluster.store.get(CONFIG_MAPS, ("logging", name))
        assert found is not None
        record = msgspec.json.decode(found["data"]["record"])
        record["wish"] = {"verb": "abort", "by": "ann", "at": "2026-09-21T14:13:30Z"}
        text = msgspec.json.encode(record).decode()
        registry = self._world.cluster.registry
        body = {"data": {"record": text}}
        registry.patch(CONFIG_MAPS, "logging", name, body, PatchType.MERGE, SOMEBODY)
