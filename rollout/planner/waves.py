"""Nodes into waves: sizes, selectors, named nodes, spread over a label, one wave per value.

The order is total and repeatable: our own node last, nodes without an available pod first (what is
broken is mended first), then the spec's keys, then the longest predicted, then the name. Nodes
that no rule takes form an explicit last wave: nothing is dropped in silence.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rollout.fleet.objects import Node, parse_time
from rollout.fleet.selectors import parse_label_selector
from rollout.quantity import parse_amount, parse_duration
from rollout.spec import PROFILES, ZONE_LABEL, Body, NodeRules, WaveRule

REST = "rest"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node to be updated, as the wave rules see it."""

    node: Node
    available: bool
    restarts: int  # of the pod that runs there now
    pod_created: str  # time stamp; "" without a pod
    predicted_s: float  # how long its last pod took to become ready; 0.0 when that isn't known
    own: bool = False  # we run on it ourselves: it goes last

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
    pause: Literal["", "approval"] = ""
    spread: bool = False  # the order of the nodes is that of the spread


def plan_waves(body: Body, candidates: Iterable[Candidate]) -> list[PlannedWave]:
    """Divide the nodes to update into waves; every one is in exactly one of them.

    Which wave a node is in follows from the spec's keys and its name; inside the wave those that
    are predicted to take longest start first, which shortens the whole.
    """
    ordered = sorted(candidates, key=lambda c: (*_keys(c, body.nodes), c.name))
    waves = _apply(wave_rules(body), ordered)
    longest = sorted(ordered, key=lambda c: (*_keys(c, body.nodes), -round(c.predicted_s), c.name))
    place = {candidate.name: index for index, candidate in enumerate(longest)}
    return [
        wave
        if wave.spread
        else replace(wave, nodes=tuple(sorted(wave.nodes, key=place.__getitem__)))
        for wave in waves
    ]


def wave_rules(body: Body) -> tuple[WaveRule, ...]:
    """Return the rules that a spec means: a profile's, a plain list of sizes, or its own.

    Without waves it is the profile standard; manual, where a DaemonSet is asked to go step by step.
    """
    if body.waves is None:
        stepped = any(i.strategy and i.strategy.type == "OnDelete" for i in body.daemon_sets)
        return PROFILES["manual" if stepped else "standard"]
    if isinstance(body.waves, str):
        return PROFILES[body.waves]
    if all(not isinstance(item, WaveRule) for item in body.waves):
        sizes = tuple(item for item in body.waves if not isinstance(item, WaveRule))
        return (WaveRule(name="wave", size=sizes),)
    return tuple(i if isinstance(i, WaveRule) else WaveRule(size=i) for i in body.waves)


def _keys(candidate: Candidate, rules: NodeRules) -> list[object]:
    """The order before prediction and name: own node last, what is broken first, spec's keys."""
    keys: list[object] = [candidate.own, candidate.available]
    for key in rules.order:
        match key:
            case "name":
                keys.append(candidate.name)
            case "zone":
                keys.append(candidate.label(ZONE_LABEL))
            case "age":
                keys.append(candidate.pod_created)
            case "newest":
                created = candidate.pod_created
                keys.append(-parse_time(created) if created else 0.0)
            case "restarts":
                keys.append(candidate.restarts)
            case "shuffle":
                text = f"{rules.seed}/{candidate.name}"
                keys.append(hashlib.sha256(text.encode()).hexdigest())
            case _:
                keys.append(candidate.label(key.removeprefix("label:")))
    return keys


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
        taken_name = any(wave.name == REST for wave in waves)
        name = f"{REST}-{len(waves) + 1}" if taken_name else REST
        waves.append(PlannedWave(name, names, "nodes that no other wave took"))
    return waves


def _one_rule(rule: WaveRule, name: str, left: Sequence[Candidate]) -> list[PlannedWave]:
    selected = _in_turns(_selected(rule, left), rule.spread)
    if rule.by:
        groups = _groups(rule.by, [c for c in selected if c.label(rule.by)])
        return [
            _wave(rule, f"{name}-{value}" if rule.name else value, group, f"{rule.by}={value}")
            for value, group in groups.items()
        ]
    if not rule.sizes:
        return [_wave(rule, name, selected, _describe(rule))]
    base, begin = len(selected), 0
    waves: list[PlannedWave] = []
    for position, size in enumerate(_endless(rule) if rule.repeats else rule.sizes):
        if begin >= base:
            break
        amount = parse_amount(size)
        end = begin + max(1, amount.resolve(base))
        taken, begin = selected[begin:end], end
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
        return [by_name[name] for name in dict.fromkeys(rule.nodes) if name in by_name]
    selector = parse_label_selector(rule.selector)
    return [c for c in left if selector.matches(c.node.metadata.labels)]


def _in_turns(selected: list[Candidate], spread: str) -> list[Candidate]:
    """Order the nodes so that the values of the spread label take turns."""
    if not spread:
        return selected
    turns: list[tuple[bool, bool, int, int, Candidate]] = []
    for place, group in enumerate(_groups(spread, selected).values()):
        turn: Counter[bool] = Counter()
        for candidate in group:  # what is broken takes its turns before what works
            turns.append(
                (candidate.own, candidate.available, turn[candidate.available], place, candidate)
            )
            turn[candidate.available] += 1
    turns.sort(key=lambda item: item[:4])
    return [item[4] for item in turns]


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
        pause=rule.pause or "",
        spread=bool(rule.spread),
    )


def _describe(rule: WaveRule) -> str:
    if rule.nodes:
        return "named nodes"
    return rule.selector or "all that are left"
