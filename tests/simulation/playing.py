"""Carries a story out with the real command, until nothing is left to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from rollout.errors import ExitCode
from rollout.fleet import marks
from rollout.planner.plan import Plan
from rollout.sim.fleetfile import read_fault
from rollout.sim.registry import DeleteOptions
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.store import Object
from tests.simulation.oracles import _node, _ready
from tests.simulation.people import act, answers
from tests.simulation.scenarios import Scenario, fleet_of, hangs, lies, script_of
from tests.simulation.secretoracle import check_secrets
from tests.simulation.storyfaults import views_are_late_for
from tests.simulation.turning import begin_turns, end_turns
from tests.simulation.virtual import SOMEBODY, Command, World

ATTEMPTS = 40  # commands until all must be over
PATIENT = 5  # times that a run ends alike before people take it back
PAUSE_S = 20.0  # between two commands
PATIENCE_S = 600.0  # until people stop a command that waits
FAULTS_END_S = 120.0  # from then on nothing goes wrong any more
_NOT_REACHED = ("deferred", "skipped", "gone")  # results of nodes that a run may end with


@dataclass(frozen=True, slots=True)
class Played:
    """How a story ended."""

    codes: tuple[int, ...]  # of the commands, in their order; -9: killed
    objects: dict[str, Any]  # what the cluster holds at the end, without what differs by nature
    deletes: dict[str, int]  # node -> pods that we ended
    reached: dict[str, int]  # fault -> how often it struck
    acted: tuple[str, ...]  # the operators that came to act
    story: str


def play(scenario: Scenario) -> Played:
    """Carry the story out to its end.

    Raises:
        AssertionError: a rule of the design was broken, or it does not come to an end.
    """
    faults = script_of(scenario)
    with World(fleet_of(scenario), seed=scenario.seed, faults=faults) as world:
        return _Story(world, scenario).play()


class _Story:
    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.scenario = scenario
        self.waiting = sorted(scenario.operators, key=lambda operator: operator.at)
        self.acted: list[str] = []
        self.codes: list[int] = []
        self.others: list[Command] = []
        self.stuck = False  # the last command waited without end, and was stopped
        self.asked_to_step: int | None = None
        self.last = ""  # what the last command has printed
        self.plan: Plan

    @property
    def node_count(self) -> int:
        """How many nodes the story begins with."""
        return self.scenario.nodes

    def play(self) -> Played:
        world, scenario = self.world, self.scenario
        world.advance(5.0)
        self.plan = world.plan(scenario.spec)
        for key, fault in scenario.release.items():
            world.cluster.set_image_fault(key, read_fault(fault))
        world.judge.gates.late_until = world.clock.now() + views_are_late_for(scenario.faults)
        world.begin_faults()
        begin_turns(world, scenario.spec.get("gates", []), scenario.turns)
        code = self._commands()
        world.wait_until(lambda: all(other.over for other in self.others))
        ends = {other.code for other in self.others}
        for back in (ExitCode.ROLLED_BACK, ExitCode.ROLLBACK_INCOMPLETE):
            if back in ends:  # asked for at the last moment, done by who asked
                code = back
                break
        world.advance(90.0)
        edited = "edit-strategy" in self.acted
        world.judge.check_strategy(restored=code in (0, 4), edited=edited)
        world.judge.rule()
        check_secrets(world.machine, world.cluster.store)
        self._check_end(code)
        return Played(
            (*self.codes, code),
            final_objects(world),
            {f"{ds}/{node}": n for (ds, node), n in sorted(world.judge.deletes.items())},
            {name: counter.hits for name, counter in world.injector.counters.items()},
            tuple(self.acted),
            world.judge.story(),
        )

    def _commands(self) -> int:
        """Give the commands that people would give; returns the last exit code."""
        path = self.world.save(self.plan)
        policy = "fail" if lies(self.scenario) else "ignore"
        command = ["apply", path, "-o", "jsonl", "--on-drift", policy]
        back = ["rollback", self.plan.name, "-n", self.plan.namespace]
        tries_back = 0
        for _ in range(ATTEMPTS):
            code = self._one(self._instead(command, path))
            self.codes.append(code)
            match code:
                case ExitCode.DONE | ExitCode.DEFERRED | ExitCode.ROLLED_BACK:
                    return code
                case ExitCode.PAUSED if not self.stuck:
                    self._approve()
                case (
                    ExitCode.HELD
                    | ExitCode.DEADLINE
                    | ExitCode.STALE
                    | ExitCode.PAUSED
                    | ExitCode.INCONCLUSIVE
                    | ExitCode.ROLLBACK_INCOMPLETE
                ):
                    if self._is_over():
                        return code
                    tries_back += command == back
                    gives_up = (
                        self.scenario.repair == "rollback" or self.codes.count(code) > PATIENT
                    )
                    before = code in (ExitCode.HELD, ExitCode.PAUSED)
                    if gives_up and before and not self.world.judge.writes:
                        return code  # a gate before the first write: there is nothing to take back
                    if gives_up and code != ExitCode.STALE:
                        command = back
                    elif code == ExitCode.STALE and self._was_lied_to():
                        self._calm()  # as soon as lists are whole it goes on
                        command = [*command[:-1], "ignore"] if command != back else back
                        continue
                    elif code == ExitCode.STALE:
                        return code
                    self._calm()
                    self._heal(tries_back)
            self.world.advance(PAUSE_S)
        raise AssertionError(f"L1: no end after {self.codes}; {self.world.judge.story()[-6000:]}")

    def _was_lied_to(self) -> bool:
        """Whether nothing but a list that lacked something can have stopped the run (fault 13)."""
        drifts = {"edit-template", "edit-strategy", "recreate"}
        ended = any(r["phase"] in ("aborted", "superseded", "cleaned up") for r in self._records())
        return lies(self.scenario) and drifts.isdisjoint(self.acted) and not ended

    def _instead(self, command: list[str], path: str) -> list[str]:
        """Return what is given in place of a command: somebody may want to walk."""
        if self.asked_to_step is None or command[0] != "apply":
            return command
        return ["step", path]

    def _calm(self) -> None:
        """Let the faults end: who repairs waits for that."""
        left = FAULTS_END_S - (self.world.clock.now() - self.world.machine.started)
        if left > 0:
            self.world.advance(left)

    def _heal(self, tries: int) -> None:
        if self.scenario.repair == "heal" or tries > 1:
            end_turns(self.world, self.scenario.spec.get("gates", []))
            self.world.cluster.clear_image_faults()
            for node in self.world.nodes():
                if node.startswith("n-"):
                    self.world.cluster.restore_node(node)
            self._end_what_hangs()
            for pod in self.world.pods():
                statuses = (pod.get("status") or {}).get("containerStatuses") or ()
                if any(status["restartCount"] for status in statuses):
                    name = pod["metadata"]["name"]
                    self.world.cluster.registry.delete(PODS, "logging", name, SOMEBODY)
            self.world.advance(30.0)

    def _end_what_hangs(self) -> None:
        """Force the pods away whose kubelet does not end them (`kubectl delete --force`)."""
        for pod in self.world.pods():
            if "deletionTimestamp" in pod["metadata"] and _node(pod).startswith("n-"):
                name = pod["metadata"]["name"]
                registry = self.world.cluster.registry
                registry.delete(PODS, "logging", name, SOMEBODY, DeleteOptions(0))

    def _is_over(self) -> bool:
        """Whether the record says that no command goes on with this plan."""
        return any(r["phase"] in ("complete", "rolled back") for r in self._records())

    def _records(self) -> list[dict[str, Any]]:
        """Return the records of the run."""
        return [r for r in self.world.judge.wrote.records() if r["name"] == self.plan.name]

    def _one(self, arguments: list[str]) -> int:
        """Run one command while people do their things."""
        said = None
        if arguments[0] == "step" and self.asked_to_step is not None:
            said, self.asked_to_step = answers(self.asked_to_step), None
        command = self.world.start(*arguments, answers=said)
        world, judge = self.world, self.world.judge
        patience = world.clock.now() + PATIENCE_S
        self.stuck = False
        while True:
            world.wait_until(
                lambda: (
                    command.over or self._due(judge.deletes.total()) or world.clock.now() > patience
                )
            )
            if command.over:
                self.last = command.text
                return -9 if command.code is None else command.code
            if world.clock.now() > patience:
                self.stuck = True
                command.interrupt()
                world.wait_until(lambda: command.over)
                continue
            operator = self.waiting.pop(0)
            self.acted.append(operator.kind)
            act(self, operator, command)

    def _due(self, deleted: int) -> bool:
        return (
            bool(self.waiting) and self.waiting[0].at <= deleted and bool(self.world.judge.writes)
        )

    def _approve(self) -> None:
        """Approve every wave and gate, which is what people who stop looking do."""
        for gate in self.plan.gates:
            if gate.kind == "approval":
                self.world.judge.gates.voices.add(gate.name)
                about = ("--gate", gate.name, "-n", self.plan.namespace)
                self.others.append(self.world.run("approve", self.plan.name, *about))
        for wave in self.plan.waves:
            if wave.pause:
                self.others.append(
                    self.world.run(
                        "approve", self.plan.name, "--wave", wave.name, "-n", self.plan.namespace
                    )
                )

    def _check_end(self, code: int) -> None:
        """L1 and L2: every node is where the last command says, or it says that it is not."""
        if "edit-template" in self.acted or "edit-strategy" in self.acted:
            return
        image = {0: ":2", 12: ":2", 4: ":1"}.get(code)
        if image is None:
            return
        dead = {name for name in self.world.nodes() if name.startswith("dead")}
        joined = {name for name in self.world.nodes() if name.startswith("new")}
        reported = _reported(self.last)
        for pod in self.world.pods():
            if _node(pod) in dead | joined | reported or _node(pod) not in self.world.nodes():
                continue  # the pods of a node that left stay until they are collected
            if "deletionTimestamp" in pod["metadata"] and hangs(self.scenario):
                continue  # its end was asked for; that it comes is the kubelet's affair
            found = pod["spec"]["containers"][0]["image"]
            assert found.endswith(image), f"L1: {_node(pod)} runs {found} after exit code {code}"
            labels = pod["metadata"].get("labels") or {}
            assert marks.RELEASED_FROM not in labels, f"L1: {_node(pod)} keeps a released pod"


def _reported(text: str) -> set[str]:
    """Return the nodes of which a command says that they are not on the target revision."""
    found: set[str] = set()
    for line in text.splitlines():
        if line.startswith("{") and '"type":"run-finished"' in line:
            nodes = msgspec.json.decode(line)["nodes"]
            found = {n["node"] for n in nodes if n["result"] in _NOT_REACHED}
        elif not line.startswith("{") and any(word in line for word in _NOT_REACHED):
            found |= {word.strip(":,;.") for word in line.split()}
    return found


def final_objects(world: World) -> dict[str, Any]:
    """Return what the cluster holds, without names, times and UIDs."""
    found: dict[str, Any] = {}
    for ds in world.cluster.store.scan(DAEMONSETS):
        name = ds["metadata"]["name"]
        found[f"ds/{name}"] = {"spec": ds["spec"], "annotations": sorted(_kept(ds))}
    for pod in world.pods():
        place = f"pod/{pod['metadata'].get('generateName', '')}{_node(pod)}"
        found.setdefault(place, []).append(
            [
                pod["spec"]["containers"][0]["image"],
                _ready(pod),
                "deletionTimestamp" in pod["metadata"],
            ]
        )
    found["nodes"] = world.nodes()
    return {
        key: sorted(value) if isinstance(value, list) else value for key, value in found.items()
    }


def _kept(ds: Object) -> list[str]:
    return list(ds["metadata"].get("annotations") or {})
