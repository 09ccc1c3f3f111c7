"""What people do while a story is played: with commands, with `kubectl`, and to nodes."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol

import msgspec

from rollout.planner.plan import Plan
from rollout.sim.errors import StatusError
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, NODES, PODS
from tests.simulation.oracles import _node
from tests.simulation.virtual import SOMEBODY, Command, World

BACK_S = 15.0  # after which a node that left comes back
ANSWERS = ("y", "y", "y", "n", "skip", "all", "quit", "what?")
# With a command while the run goes on; what ends it first is in `AFTER_A_KILL`.
WORDS = ("pause", "rollback", "abort", "retry", "skip", "reject", "approve", "approve-node")
AFTER_A_KILL = ("undo", "cleanup", "unlock", "rollback-after")
DEEDS = ("delete-pods", "return", "recreate", "step")
MORE = (*WORDS, *AFTER_A_KILL, *DEEDS)


class Operator(msgspec.Struct, frozen=True):
    """Somebody does something, as soon as so many pods were deleted by us."""

    kind: str
    at: int
    value: int = 0


class Stage(Protocol):
    """Where people act."""

    world: World
    plan: Plan
    others: list[Command]
    acted: list[str]
    asked_to_step: int | None  # what the answers at the prompt are drawn from

    @property
    def node_count(self) -> int:
        """How many nodes the story begins with."""


def draw_more(rng: random.Random, nodes: int) -> Operator:
    """Return somebody who says or does what the first people of stories did not."""
    return Operator(rng.choice(MORE), rng.randint(0, nodes), rng.randrange(1000))


def answers(value: int) -> list[str]:
    """Return what somebody answers at the prompts of `step`; at the end he says no more."""
    rng = random.Random(f"answers {value}")
    return rng.choices(ANSWERS, k=rng.randint(1, 6))


def act(stage: Stage, operator: Operator, command: Command) -> None:
    """Let somebody do something while a command runs."""
    node = f"n-{operator.value % stage.node_count:03d}"
    if operator.kind in _TO_NODES:
        if node in stage.world.nodes():
            _TO_NODES[operator.kind](stage, node)
    elif operator.kind in WORDS or operator.kind in AFTER_A_KILL:
        _say(stage, operator, node, command)
    else:
        _do(stage, operator, node, command)


def _say(stage: Stage, operator: Operator, node: str, command: Command) -> None:
    """Give a command of `rollout` beside the one that runs, or behind one that was killed."""
    why = ("--reason", "because")
    gates = [gate.name for gate in stage.plan.gates if gate.kind == "approval"]
    about = ("--gate", gates[operator.value % len(gates)]) if gates else ()
    name = stage.plan.name
    if operator.kind in AFTER_A_KILL:
        command.kill()
    match operator.kind:
        case "skip":
            words: tuple[str, ...] = ("skip", name, node, *why)
        case "retry":
            words = ("retry", name, *why)
        case "approve" | "reject":
            words = (operator.kind, name, *about, *why)
        case "approve-node":
            stage.world.judge.let_go.add(node)
            words = ("approve", name, "--node", node, *why)
        case "undo":
            words = ("undo", "log-agent", "--yes")
        case "cleanup":
            words = ("cleanup", name, "--yes")
        case "unlock":
            words = ("unlock", _run_id(stage))
        case _:
            words = (operator.kind.removesuffix("-after"), name)
    if words[0] == "approve" and about:
        stage.world.judge.gates.voices.add(about[1])
    stage.others.append(stage.world.start(*words, "-n", stage.plan.namespace))


def _run_id(stage: Stage) -> str:
    for config_map in stage.world.cluster.store.scan(CONFIG_MAPS):
        text = (config_map.get("data") or {}).get("record")
        if text:
            return str(msgspec.json.decode(text)["runId"])
    return "00000000"


def _do(stage: Stage, operator: Operator, node: str, command: Command) -> None:  # noqa: C901 - an arm per deed
    world = stage.world
    match operator.kind:
        case "kill":
            command.kill()
        case "interrupt":
            command.interrupt()
        case "step":
            command.interrupt()
            stage.asked_to_step = operator.value
        case "second-apply":
            path = world.save(stage.plan, "again.json")
            stage.others.append(world.start("apply", path))
        case "delete-pod":
            _delete_pods(stage, {node})
        case "delete-pods":
            first = operator.value % stage.node_count
            some = {f"n-{n % stage.node_count:03d}" for n in range(first, first + 3)}
            _delete_pods(stage, some)
        case "edit-template":
            container = {"name": "agent", "image": "log-agent:other"}
            _edit(stage, {"template": {"spec": {"containers": [container]}}})
        case "edit-strategy":
            _edit(stage, {"updateStrategy": {"type": "RollingUpdate"}})
        case "recreate":
            _recreate(stage)
        case "join":
            world.cluster.join_node(f"new-{operator.at}-{operator.value}", zone="zone-a")


def _edit(stage: Stage, spec: dict[str, Any]) -> None:
    """Change the DaemonSet, unless somebody is just making it anew."""
    if stage.world.cluster.store.get(DAEMONSETS, ("logging", "log-agent")) is not None:
        stage.world.patch(DAEMONSETS, "log-agent", {"spec": spec})


def _delete_pods(stage: Stage, nodes: set[str]) -> None:
    registry, done = stage.world.cluster.registry, set[str]()
    for pod in stage.world.pods():
        if _node(pod) in nodes - done:
            done.add(_node(pod))
            registry.delete(PODS, "logging", pod["metadata"]["name"], SOMEBODY)


def _recreate(stage: Stage) -> None:
    """Delete a DaemonSet and its pods, and make it anew as it was before the run."""
    world = stage.world
    old = world.cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
    if old is None:
        return
    world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)
    spec = deepcopy(old["spec"])
    spec["updateStrategy"] = {"type": "RollingUpdate"}
    meta = {"name": "log-agent", "namespace": "logging"}
    body = {"metadata": meta, "spec": spec}

    def create() -> None:
        if world.cluster.store.get(DAEMONSETS, ("logging", "log-agent")) is None:
            world.cluster.registry.create(DAEMONSETS, "logging", body, SOMEBODY)

    world.clock.call_later(2.0, create)


def _cordon(stage: Stage, node: str) -> None:
    stage.world.patch(NODES, node, {"spec": {"unschedulable": True}})


def _leave(stage: Stage, node: str) -> None:
    if len(stage.world.nodes()) > 1:
        stage.world.cluster.remove_node(node)


def _return(stage: Stage, node: str) -> None:
    """Take a node away; another machine comes under its name."""
    world = stage.world
    labels = (world.node(node)["metadata"].get("labels") or {}) | {}
    zone = labels.get("topology.kubernetes.io/zone", "")
    world.cluster.remove_node(node)

    def join() -> None:
        try:
            world.cluster.join_node(node, zone=zone)
        except StatusError:
            return  # it was never quite gone

    world.clock.call_later(BACK_S, join)


def _reboot(stage: Stage, node: str) -> None:
    stage.world.cluster.reboot_node(node)


_TO_NODES: dict[str, Callable[[Stage, str], None]] = {
    "cordon": _cordon,
    "leave": _leave,
    "return": _return,
    "reboot": _reboot,
}
