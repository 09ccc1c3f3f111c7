"""One seed, one story: a fleet, a spec, a release, people, faults; and what must come of it.

`draw` makes a scenario from a seed, `play` carries it out with the real command until nothing is
left to do, `check` compares it with the same story without faults. A scenario is plain data, so a
failing one can be made smaller and kept.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from rollout.errors import ExitCode
from rollout.fleet import marks
from rollout.planner.plan import Plan
from rollout.sim.faultfile import Script, read_faults
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    NodeGroup,
    Taint,
    UpdateStrategy,
    read_fault,
)
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import DeleteOptions
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.store import Object
from tests.simulation.oracles import _node, _ready
from tests.simulation.outsideworld import Turn
from tests.simulation.people import Operator, act, answers, draw_more
from tests.simulation.secretoracle import check_secrets
from tests.simulation.storyfaults import draw_worse, views_are_late_for
from tests.simulation.storygates import draw_gates
from tests.simulation.turning import begin_turns, end_turns
from tests.simulation.virtual import SOMEBODY, Command, World

ATTEMPTS = 40  # commands until all must be over
PATIENT = 5  # times that a run ends alike before people take it back
PAUSE_S = 20.0  # between two commands
PATIENCE_S = 600.0  # until people stop a command that waits
FAULTS_END_S = 120.0  # from then on nothing goes wrong any more
GATED, CROWDED, WORSE = 0.3, 0.3, 0.15  # shares of stories with gates, more people, larger faults
RARER, SIZED = 0.05, 0.02  # shares with releases, and with fleets, that all others don't have
OWN = 0.25  # share with DaemonSets that say themselves how they are to be updated
OPERATORS = (
    *("kill", "kill", "kill", "interrupt", "pause", "pause", "rollback", "second-apply"),
    *("delete-pod", "edit-template", "edit-strategy", "cordon", "join", "leave", "reboot"),
)
FAULTS = (
    *("lose", "lose", "refuse", "error", "throttle", "delay", "stale", "expire", "drop"),
    *("duplicate", "stall", "restart", "stopControllers", "compact", "truncate", "conflict"),
)
ZONES = ("zone-a", "zone-b", "zone-c", "zone-d")
_NOT_REACHED = ("deferred", "skipped", "gone")  # results of nodes that a run may end with


class Scenario(msgspec.Struct, frozen=True):
    """A whole story."""

    seed: int
    nodes: int
    zones: int
    tainted: int
    dead: int
    daemon_sets: int
    slow: float  # sigma of the times that pods take
    spec: dict[str, Any]
    release: dict[str, Any]  # image key -> fault; empty: a good release
    repair: str  # what people do when it is held: heal or rollback
    operators: tuple[Operator, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()
    turns: tuple[Turn, ...] = ()  # when what a gate looks at is bad
    own: dict[str, Any] = {}  # what the DaemonSets say themselves: strategy, minReadySeconds


@dataclass(frozen=True, slots=True)
class Played:
    """How a story ended."""

    codes: tuple[int, ...]  # of the commands, in their order; -9: killed
    objects: dict[str, Any]  # what the cluster holds at the end, without what differs by nature
    deletes: dict[str, int]  # node -> pods that we ended
    reached: dict[str, int]  # fault -> how often it struck
    acted: tuple[str, ...]  # the operators that came to act
    story: str


# Drawing


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed.

    What stories got later, gates and more people and faults, is drawn from sources of its own: the
    seeds that don't get them mean what they always meant.
    """
    story = _with_other_release(_with_more_trouble(_with_gates(_draw(seed))))
    return _with_own_words(_with_more_nodes(story))


def _draw(seed: int) -> Scenario:
    rng = random.Random(f"scenario {seed}")
    nodes = rng.choice([1, 2, 2, 3, 3, 3, 4, 5, 6, 9])
    if rng.random() < 0.005:
        nodes = rng.choice([40, 100, 300])
    daemon_sets = rng.choice([1, 1, 1, 2])
    release, repair = _release(rng, nodes)
    return Scenario(
        seed=seed,
        nodes=nodes,
        zones=rng.randint(1, 4),
        tainted=rng.choice([0, 0, 0, 1, 2]),
        dead=rng.choice([0, 0, 0, 0, 1, 2]),
        daemon_sets=daemon_sets,
        slow=rng.choice([0.0, 0.3, 1.0]),
        spec=_spec(rng, daemon_sets),
        release=release,
        repair=repair,
        operators=tuple(_operator(rng, nodes) for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))),
        faults=tuple(_fault(rng) for _ in range(rng.choice([0, 1, 1, 2, 3, 5]))),
    )


def _with_gates(scenario: Scenario) -> Scenario:
    rng = random.Random(f"gates {scenario.seed}")
    if rng.random() > GATED:
        return scenario
    gates, turns = draw_gates(rng)
    return replace(scenario, spec={**scenario.spec, "gates": gates}, turns=turns)


def _with_more_trouble(scenario: Scenario) -> Scenario:
    rng = random.Random(f"people {scenario.seed}")
    people, faults = scenario.operators, scenario.faults
    if rng.random() < CROWDED:
        more = (draw_more(rng, scenario.nodes) for _ in range(rng.choice([1, 1, 2])))
        people = (*people, *more)
    if rng.random() < WORSE:
        faults = (*faults, draw_worse(rng))
    return replace(scenario, operators=people, faults=faults)


def _with_other_release(scenario: Scenario) -> Scenario:
    """Let the release be bad in a way that takes more with it than its own pod."""
    rng = random.Random(f"release {scenario.seed}")
    if rng.random() > RARER:
        return scenario
    node = f"n-{rng.randrange(scenario.nodes):03d}"
    release: dict[str, Any] = rng.choice(
        [
            {f"log-agent:2@{node}": {"kind": "kills-node", "after": "2s"}},
            {f"log-agent:2@{node}": {"kind": "stuck-terminating"}, "log-agent:2": "crash"},
            {f"log-agent:1@{node}": {"kind": "stuck-terminating", "lasts": "45s"}},
            {f"log-agent:1@{node}": {"kind": "stuck-terminating"}},
            {"log-agent:2": {"kind": "exits", "exitCode": rng.randrange(2)}},
        ]
    )
    return replace(scenario, release=release, repair=rng.choice(["heal", "rollback"]))


def _with_more_nodes(scenario: Scenario) -> Scenario:
    """Let the fleet be of any size up to 300, small ones far more often."""
    rng = random.Random(f"nodes {scenario.seed}")
    if rng.random() > SIZED:
        return scenario
    return replace(scenario, nodes=round(10 ** rng.uniform(0.8, rng.choice([1.2, 1.6, 2.48]))))


def _with_own_words(scenario: Scenario) -> Scenario:
    """Let the DaemonSets have another strategy than the one that Kubernetes gives them."""
    rng = random.Random(f"own {scenario.seed}")
    if rng.random() > OWN:
        return scenario
    strategy = rng.choice(
        [
            {"maxUnavailable": "25%"},
            {"maxUnavailable": 2},
            {"maxUnavailable": 0, "maxSurge": "50%"},
            {"type": "OnDelete"},
        ]
    )
    return replace(scenario, own={"strategy": strategy, "minReadySeconds": rng.choice([0, 0, 3])})


def _spec(rng: random.Random, daemon_sets: int) -> dict[str, Any]:
    items = []
    for number in range(daemon_sets):
        surge = rng.random() < 0.3
        limit = rng.choice([1, 1, 2, 3, "10%", "34%", "50%", "100%"])
        strategy = {"maxUnavailable": 0, "maxSurge": limit} if surge else {"maxUnavailable": limit}
        item: dict[str, Any] = {
            "name": _names(daemon_sets)[number],
            "target": {"set": {"image": {"agent": f"{_names(daemon_sets)[number]}:2"}}},
            "strategy": strategy,
        }
        if number and rng.random() < 0.7:
            item["after"] = {
                "daemonSet": _names(daemon_sets)[0],
                "scope": rng.choice(["node", "wave", "all"]),
            }
        items.append(item)
    spec: dict[str, Any] = {
        "daemonSets": items,
        "waves": rng.choice(
            [
                "standard",
                "fast",
                "critical",
                [1, "50%"],
                [{"name": "canary", "size": 2}, {"name": "rest"}],
                [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}],
                [{"name": "canary", "size": 1, "bake": "20s"}, {"name": "rest"}],
            ]
        ),
        "health": {"soak": rng.choice([0, 1, 5]), "nodeTimeout": rng.choice(["1m", "3m"])},
        "failure": {"onFailure": rng.choice(["hold", "hold", "rollback"])},
    }
    if rng.random() < 0.2:
        spec["limits"] = {"maxPerZone": rng.randint(1, 3), "maxNodesInFlight": rng.randint(1, 6)}
    return spec


def _names(daemon_sets: int) -> tuple[str, ...]:
    return ("log-agent", "metrics-agent")[:daemon_sets]


def _release(rng: random.Random, nodes: int) -> tuple[dict[str, Any], str]:
    if rng.random() < 0.65:
        return {}, "heal"
    fault: Any = rng.choice(
        [
            "crash",
            {"kind": "crash", "after": "3s"},
            "never-ready",
            "unpullable",
            "missing-configmap",
            "rejected",
            {"kind": "flap", "after": "2s", "lasts": "2s"},
        ]
    )
    key = "log-agent:2" if rng.random() < 0.6 else f"log-agent:2@n-{rng.randrange(nodes):03d}"
    return {key: fault}, rng.choice(["heal", "rollback"])


def _operator(rng: random.Random, nodes: int) -> Operator:
    kind = rng.choice(OPERATORS)
    return Operator(kind, rng.randint(0, nodes), rng.randrange(1000))


def _fault(rng: random.Random) -> dict[str, Any]:  # noqa: C901 - an arm per kind
    start = rng.choice([0, 0, 2, 10, 30])
    fault: dict[str, Any] = {"from": start, "until": start + rng.choice([5, 20, 60])}
    writes = {
        "verbs": rng.choice([["delete"], ["patch"], ["update", "create"], ["patch", "delete"]])
    }
    reads = {"verbs": rng.choice([["list"], ["get", "list"], ["get"]])}
    watches = {"verbs": ["watch"], "resources": [rng.choice(["pods", "daemonsets", "*"])]}
    kind = rng.choice(FAULTS)
    chance = {"chance": rng.choice([0.1, 0.3, 0.6])}
    match kind:
        case "lose" | "refuse" | "truncate":
            fault |= {kind: True, "match": rng.choice([writes, writes, reads]), **chance}
        case "error":
            code = rng.choice([500, 502, 503, 504])
            fault |= {"error": code, "match": rng.choice([writes, reads]), **chance}
        case "conflict":
            match = {
                "verbs": ["patch", "update"],
                "resources": ["daemonsets", "configmaps", "leases"],
            }
            fault |= {"error": 409, "match": match, "count": rng.randint(1, 3)}
        case "throttle":
            fault |= {
                "throttle": rng.choice([1, 5]),
                "match": rng.choice([writes, reads]),
                **chance,
            }
        case "delay":
            seconds = rng.choice([1, 5, 40])
            fault |= {"delay": seconds, "match": rng.choice([writes, reads]), **chance}
        case "stale":
            fault |= {"stale": rng.choice([1, 5]), "match": rng.choice([reads, watches]), **chance}
        case "expire":
            fault |= {"expire": True, "match": watches, "count": rng.randint(1, 4)}
        case "drop":
            events = {"events": rng.randint(0, 5)}
            fault |= {"drop": events, "match": watches, "count": rng.randint(1, 6)}
        case "duplicate":
            fault |= {"duplicate": 2, "match": watches}
        case "stall":
            fault |= {"stall": rng.choice([5, 100]), "match": watches, "count": rng.randint(1, 3)}
        case "restart" | "stopControllers":
            del fault["until"]
            fault |= {kind: True, "for": rng.choice([2, 10, 45])}
        case "compact":
            del fault["until"]
            fault |= {"compact": True}
    return fault


# Playing


def fleet_of(scenario: Scenario) -> Fleet:
    """Return the fleet that the story begins with."""
    zones = ZONES[: scenario.zones]
    groups = [NodeGroup(name="n-{}", count=max(scenario.nodes, 2), zones=zones)]
    if scenario.nodes == 1:
        groups = [NodeGroup(name="n-000", zones=zones)]
    if scenario.tainted:
        taint = Taint(key="dedicated", value="gpu", effect="NoSchedule")
        groups.append(NodeGroup(name="gpu-{}", count=scenario.tainted + 1, taints=(taint,)))
    if scenario.dead:
        groups.append(NodeGroup(name="dead-{}", count=scenario.dead + 1, ready=False))
    own = msgspec.convert(scenario.own.get("strategy"), UpdateStrategy | None)
    start = Behaviour(start=Timing(2.0, sigma=scenario.slow), stop=Timing(0.5))
    return Fleet(
        seed=scenario.seed,
        nodes=tuple(groups),
        daemon_sets=tuple(
            DaemonSetEntry(
                name=name,
                namespace="logging",
                image=f"{name}:1",
                strategy=own,
                min_ready_seconds=scenario.own.get("minReadySeconds", 0),
            )
            for name in _names(scenario.daemon_sets)
        ),
        default_behaviour=start.over(Behaviour(logs=())),
    )


def script_of(scenario: Scenario) -> Script:
    """Return the faults in the form of the fault file."""
    faults = [{"name": f"f{n}", **fault} for n, fault in enumerate(scenario.faults)]
    document = msgspec.json.encode({"seed": scenario.seed, "faults": faults}).decode()
    return read_faults(None, document)


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
        world.judge.check_strategy(restored=code in (0, 4))
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
        lies = _lies(self.scenario)
        command = ["apply", path, "-o", "jsonl", "--on-drift", "fail" if lies else "ignore"]
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
        return _lies(self.scenario) and drifts.isdisjoint(self.acted) and not ended

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


# Comparing

# Restarts of ours, and what people may say at any time, change nothing of the end: the calm story
# has none of it. What people do to pods and nodes it has as well; then only the deletes may differ.
_UNSAID = frozenset(["kill", "interrupt", "pause", "second-apply"])
_DEEDS = frozenset(["cordon", "delete-pod", "delete-pods", "reboot", "join", "unlock"])


def check(scenario: Scenario) -> Played:
    """Play a story with and without what goes wrong, and compare the ends.

    Raises:
        AssertionError: a rule was broken, or something made a difference.
    """
    played = play(scenario)
    deeds = tuple(one for one in scenario.operators if one.kind not in _UNSAID)
    good = not scenario.release or scenario.repair == "heal"
    known = all(one.kind in _DEEDS for one in deeds)
    calm = replace(scenario, faults=(), operators=deeds)
    if calm != scenario and good and known and not scenario.turns:
        _compare(scenario, played, play(calm))
    return played


def _compare(scenario: Scenario, played: Played, ideal: Played) -> None:
    """Hold a story against the same one in which nothing goes wrong."""
    back = ExitCode.ROLLED_BACK
    if (played.codes[-1] == back) != (ideal.codes[-1] == back):
        return
    # Whether a pod that comes and goes is ready at the end is of the moment; and so is whether one
    # that is well at first, or its node, was found to be bad before the run was over, and mended.
    kinds = str(tuple(scenario.release.values()))
    unsteady = any(kind in kinds for kind in ("flap", "exits", "kills-node", "after"))
    alike = _but_readiness if unsteady else dict[str, Any]
    stays = _but_what_hangs if hangs(scenario) else dict[str, Any]
    found, wanted = alike(stays(played.objects)), alike(stays(ideal.objects))
    assert found == wanted, _difference(played, ideal)
    # L1: a node that a list had lacked is reported as gone, and the controller does the rest.
    overlooked = _lies(scenario) and '"result":"gone"' in played.story
    hands_off = all(one.kind not in _DEEDS - {"cordon"} for one in scenario.operators)
    if hands_off and not scenario.release and not overlooked:
        assert played.deletes == ideal.deletes, f"{played.deletes}\n{ideal.deletes}"


def _lies(scenario: Scenario) -> bool:
    """Whether lists lack what is there."""
    return any(kind in fault for fault in scenario.faults for kind in ("empty", "shrink"))


def hangs(scenario: Scenario) -> bool:
    """Whether a kubelet does not end its pods: that their end comes is not the run's affair."""
    faults = map(str, scenario.release.values())
    return any("stuck-terminating" in text or "kills-node" in text for text in faults)


def _but_what_hangs(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the objects without pods that are being ended, which people may end by force."""
    kept = {
        key: [one for one in value if not one[2]] if key.startswith("pod/") else value
        for key, value in objects.items()
    }
    return {key: value for key, value in kept.items() if value}


def _but_readiness(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the objects without what is of the moment.

    On a node that was down before, the built-in controller replaces what it finds when it comes to
    its turn, and whether it did depends on when the strategy was restored.
    """
    return {
        key: [(image, going and "dead-" not in key) for image, _, going in value]
        if key.startswith("pod/")
        else value
        for key, value in objects.items()
    }


def _difference(played: Played, ideal: Played) -> str:
    keys = sorted({*played.objects, *ideal.objects})
    lines = [
        f"{key}: {played.objects.get(key)} instead of {ideal.objects.get(key)}"
        for key in keys
        if played.objects.get(key) != ideal.objects.get(key)
    ]
    return "\n".join([*lines, str(played.codes), str(ideal.codes), played.story])
