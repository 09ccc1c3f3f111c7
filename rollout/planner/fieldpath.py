"""Paths into a pod template as users write them: `spec.containers[agent].resources.limits.cpu`.

Brackets hold a list item's name or number, or a key that has dots in it:
`metadata.annotations[prometheus.io/scrape]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rollout.fleet.objects import JsonObject

_STEP = re.compile(r"(?:^|(?!^)\.)([^.\[\]]+)|\[([^\[\]]+)\]")
# Mappings of free keys in a pod template: where one is missing, brackets behind it make it.
_FREE_KEYS = frozenset(
    {"annotations", "labels", "limits", "matchLabels", "nodeSelector", "requests"}
)


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    bracketed: bool
    written: str  # the path up to here, for messages


def set_field(template: JsonObject, path: str, value: Any) -> None:  # noqa: ANN401 - plain data
    """Set what stands at the path, in place; None removes it, and minds nothing that is absent.

    Raises:
        ValueError: when the path leads nowhere.
    """
    steps = _parse(path)
    current: Any = template
    for step, following in pairwise(steps):
        key = _key(current, step)
        if isinstance(current, dict) and key not in current:
            if value is None:
                return
            current[key] = _made(step, following)
        current = current[key]
    key = _key(current, steps[-1])
    if value is not None:
        current[key] = value
    elif isinstance(current, list) or key in current:
        del current[key]


def _parse(path: str) -> list[_Step]:
    steps: list[_Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            break
        position = match.end()
        steps.append(_Step(match[1] or match[2], match[2] is not None, path[:position]))
    if not steps or position < len(path):
        raise ValueError(f"'{path}' is not a path; write spec.containers[name].image")
    return steps


def _made(step: _Step, following: _Step) -> JsonObject:
    if following.bracketed and step.name not in _FREE_KEYS:
        raise ValueError(f"there is no list '{step.written}'; set it whole")
    return {}


def _key(current: Any, step: _Step) -> Any:  # noqa: ANN401 - plain data
    """Return what the step is called in `current`: a key, or the number of a list item."""
    if isinstance(current, dict):
        return step.name
    parent = step.written[: -len(step.name) - (2 if step.bracketed else 1)]
    if not isinstance(current, list):
        raise ValueError(f"'{parent}' is no mapping")  # noqa: TRY004 - the message is the user's
    if not step.bracketed:
        raise ValueError(f"'{parent}' is a list; write [name] behind it")
    return _index(current, step.name)


def _index(items: Sequence[Any], wanted: str) -> int:
    if wanted.isdecimal() and int(wanted) < len(items):
        return int(wanted)
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == wanted:
            return index
    raise ValueError(f"the list has no item '{wanted}'")
