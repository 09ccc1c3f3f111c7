"""Makes a failing story smaller: fewer nodes, faults, people and settings, while it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from tests.simulation.scenarios import Scenario

PLAIN_SPEC = {"waves": "fast", "health": {"soak": 0, "nodeTimeout": "1m"}}


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], tries: int = 200) -> Scenario:
    """Return the smallest scenario that was found and still fails.

    Args:
        scenario: which fails.
        fails: whether a scenario does.
        tries: how many may be played.
    """
    smaller = _smaller(scenario)
    while tries > 0:
        candidate = next(smaller, None)
        if candidate is None:
            return scenario
        tries -= 1
        if candidate != scenario and fails(candidate):
            scenario = candidate
            smaller = _smaller(scenario)
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield what is a step smaller, the large steps first."""
    for index in range(len(scenario.faults)):
        faults = scenario.faults[:index] + scenario.faults[index + 1 :]
        yield replace(scenario, faults=faults)
    for index in range(len(scenario.operators)):
        operators = scenario.operators[:index] + scenario.operators[index + 1 :]
        yield replace(scenario, operators=operators)
    for index in range(len(scenario.turns)):
        yield replace(scenario, turns=scenario.turns[:index] + scenario.turns[index + 1 :])
    yield from _fewer_gates(scenario)
    for nodes in sorted({1, scenario.nodes // 2, scenario.nodes - 1}):
        if 0 < nodes < scenario.nodes:
            yield replace(scenario, nodes=nodes)
    yield replace(scenario, tainted=0)
    yield replace(scenario, dead=0)
    yield replace(scenario, zones=1)
    yield replace(scenario, slow=0.0)
    yield replace(scenario, release={})
    yield replace(scenario, own={})
    items = scenario.spec["daemonSets"]
    if len(items) > 1:
        yield replace(scenario, daemon_sets=1, spec={**scenario.spec, "daemonSets": items[:1]})
    for key, plain in PLAIN_SPEC.items():
        yield replace(scenario, spec={**scenario.spec, key: plain})
    for key in ("limits", "failure"):
        if key in scenario.spec:
            yield replace(scenario, spec={k: v for k, v in scenario.spec.items() if k != key})


def _fewer_gates(scenario: Scenario) -> Iterator[Scenario]:
    """Yield it without one of its gates, and without what turns bad for that."""
    gates = scenario.spec.get("gates", [])
    for gate in gates:
        left = [other for other in gates if other is not gate]
        turns = tuple(turn for turn in scenario.turns if turn.gate != gate["name"])
        yield replace(scenario, spec={**scenario.spec, "gates": left}, turns=turns)
