"""One seed, one story: a fleet, a spec, a release, people, faults.

`draw` makes a scenario from a seed; `playing` carries it out, `comparing` holds it against the same
story without faults. A scenario is plain data, so a failing one can be made smaller and kept.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from msgspec.structs import replace

from rollout.sim.faultfile import Script, read_faults
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    NodeGroup,
    Taint,
    UpdateStrategy,
)
from rollout.sim.images import Behaviour, Timing
from tests.simulation.outsideworld import Turn
from tests.simulation.people import Operator, draw_more
from tests.simulation.storyfaults import draw_worse
from tests.simulation.storygates import draw_gates

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


def lies(scenario: Scenario) -> bool:
    """Whether lists lack what is there."""
    return any(kind in fault for fault in scenario.faults for kind in ("empty", "shrink"))


def hangs(scenario: Scenario) -> bool:
    """Whether a kubelet does not end its pods: that their end comes is not the run's affair."""
    faults = map(str, scenario.release.values())
    return any("stuck-terminating" in text or "kills-node" in text for text in faults)
