"""Nodes into waves: sizes, selectors, named nodes, spread over a label, one wave per value.

The order is total and repeatable: nodes without an available pod first (what is broken is mended
first), then the spec's keys, then the name. A node that no rule takes forms the explicit last
wave: nothing is dropped in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollout.fleet.objects import Node
from rollout.fleet.selectors import parse_label_selector
from rollout.planner.fates import ZONE_LABEL
from rollout.quantity import parse_amount, parse_duration
from rollout.spec import PROFILES, Body, NodeRules, WaveRule

REST = "rest"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node to be updated, as the wave rules see it."""

    node: Node
    available: bool
    restarts: int  # of the pod that runs there now
    pod_created: str  # time stamp; "" without a pod

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.metadata.name

    def label(self, key: str) -> str:
        """Value of a label of the node; "" when it has none."""
        return self.node.metadata.labels.get(key, "")


@dataclass(frozen=True, slots=True)
class PlannedWave:
    """One wave: its nodes in their order, and the rule that made it."""

    name: str
    nodes: tuple[str, ...]
    rule: str
    bake_s: float = 0.0
    max_unavailable: int | str | None = None


def plan_waves(body: Body, candidates: Iterable[Candidate]) -> list[PlannedWave]:
    """Divide the nodes to update into waves; every one is in exactly one of them."""
    ordered = sorted(candidates, key=lambda c: _order(c, body.nodes))
    if isinstance(body.waves, str):
        if body.waves == "critical":
            rules: list[WaveRule] = [WaveRule(name="canary", size=1), WaveRule(by=ZONE_LABEL)]
            return _apply(rules, ordered)
        return _by_sizes(PROFILES[body.waves], ordered)
    if all(not isinstance(item, WaveRule) for item in body.waves):
        return _by_sizes([i for i in body.waves if not isinstance(i, WaveRule)], ordered)
    return _apply([i if isinstance(i, WaveRule) else WaveRule(size=i) for i in body.waves], ordered)


def _order(candidate: Candidate, rules: NodeRules) -> tuple[object, ...]:
    keys: list[object] = [candidate.available]
    for key in rules.order:
        match key:
            case "name":
                keys.append(candidate.name)
            case "zone":
                keys.append(candidate.label(ZONE_LABEL))
            case "age":
                keys.append(candidate.pod_created)
            case "restarts":
                keys.append(candidate.restarts)
            case "shuffle":
                text = f"{rules.seed}/{candidate.name}"
                keys.append(hashlib.sha256(text.encode()).hexdigest())
            case _:
                keys.append(candidate.label(key.removeprefix("label:")))
    return (*keys, candidate.name)


def _by_sizes(sizes: Sequence[int | str], ordered: list[Candidate]) -> list[PlannedWave]:
    """Ansible's rule: each size takes its share of all nodes, the last one repeats."""
    base, left = len(ordered), ordered
    waves: list[PlannedWave] = []
    while left:
        number = len(waves)
        amount = parse_amount(sizes[min(number, len(sizes) - 1)])
        count = max(1, amount.resolve(base))
        taken, left = left[:count], left[count:]
        waves.append(
            PlannedWave(f"wave-{number + 1}", tuple(c.name for c in taken), amount.explain(base))
        )
    return waves


def _apply(rules: Sequence[WaveRule], ordered: list[Candidate]) -> list[PlannedWave]:
    left = list(ordered)
    waves: list[PlannedWave] = []
    for number, rule in enumerate(rules, start=1):
        name = rule.name or f"wave-{number}"
        made = _one_rule(rule, name, left)
        taken = {node for wave in made for node in wave.nodes}
        left = [c for c in left if c.name not in taken]
        waves.extend(wave for wave in made if wave.nodes)
    if left:
        names = tuple(c.name for c in left)
        waves.append(PlannedWave(REST, names, "nodes that no other wave took"))
    return waves


def _one_rule(rule: WaveRule, name: str, left: Sequence[Candidate]) -> list[PlannedWave]:
    selected = _selected(rule, left)
    if rule.by:
        groups = _groups(rule.by, [c for c in selected if c.label(rule.by)])
        return [
            _wave(rule, f"{name}-{value}" if rule.name else value, group, f"{rule.by}={value}")
            for value, group in groups.items()
        ]
    if not rule.sizes:
        return [_wave(rule, name, selected, _describe(rule))]
    base, waves = len(selected), []
    for position, size in enumerate(_endless(rule) if rule.repeats else rule.sizes):
        if not selected:
            break
        amount = parse_amount(size)
        taken = _take(selected, max(1, amount.resolve(base)), rule.spread)
        names = {c.name for c in taken}
        selected = [c for c in selected if c.name not in names]
        label = f"{name}-{position + 1}" if rule.repeats else name
        waves.append(_wave(rule, label, taken, amount.explain(base)))
    return waves


def _endless(rule: WaveRule) -> Iterable[int | str]:
    yield from rule.sizes
    while True:
        yield rule.sizes[-1]


def _selected(rule: WaveRule, left: Sequence[Candidate]) -> list[Candidate]:
    if rule.nodes:
        by_name = {c.name: c for c in left}
        return [by_name[name] for name in rule.nodes if name in by_name]
    selector = parse_label_selector(rule.selector)
    return [c for c in left if selector.matches(c.node.metadata.labels)]


def _take(selected: Sequence[Candidate], count: int, spread: str) -> list[Candidate]:
    """Take the first `count`, or one of each value of the spread label in turn."""
    if not spread:
        return list(selected[:count])
    groups = _groups(spread, selected).values()
    turns = [(turn, place, c) for place, g in enumerate(groups) for turn, c in enumerate(g)]
    turns.sort(key=lambda item: item[:2])
    return [candidate for _, _, candidate in turns[:count]]


def _groups(key: str, candidates: Iterable[Candidate]) -> dict[str, list[Candidate]]:
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.label(key), []).append(candidate)
    return dict(sorted(groups.items()))


def _wave(rule: WaveRule, name: str, nodes: Iterable[Candidate], text: str) -> PlannedWave:
    return PlannedWave(
        name=name,
        nodes=tuple(c.name for c in nodes),
        rule=text,
        bake_s=parse_duration(rule.bake),
        max_unavailable=rule.max_unavailable,
    )


def _describe(rule: WaveRule) -> str:
    if rule.nodes:
        return "named nodes"
    return rule.selector or "all that are left"
