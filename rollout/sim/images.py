"""How images behave: how long they take to start and stop, and what goes wrong with them.

Behaviour is looked up by image and node. A key is `image`, `image@node`, or either with `*` in it
(`agent:bad*`, `*@node-007`); what a more particular key leaves open comes from the less
particular ones: `image@node` before `*@node` before `image` before `*`. Behaviour may change at
run time; the kubelets look again.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

DEFAULT_START: Final = 2.0  # seconds from binding to Ready
DEFAULT_STOP: Final = 0.5  # seconds from deletion to gone


@dataclass(frozen=True, slots=True)
class Timing:
    """A length of time: fixed, lognormal around a median, with some stragglers.

    Args:
        median: seconds; the length itself when `sigma` is 0.
        sigma: of the logarithm; 0.3 is ordinary, 1.0 is wild.
        stragglers: share (0 to 1) of the draws that take longer.
        factor: how many times longer those take.
    """

    median: float
    sigma: float = 0.0
    stragglers: float = 0.0
    factor: float = 1.0

    def draw(self, rng: random.Random) -> float:
        """Return seconds; fixed timings leave the generator alone."""
        seconds = self.median
        if self.sigma:
            seconds *= math.exp(rng.gauss(0.0, self.sigma))
        if self.stragglers and rng.random() < self.stragglers:
            seconds *= self.factor
        return seconds


class FaultKind(StrEnum):
    """What can be wrong with an image."""

    CRASH = "crash"  # exits `after` seconds after each start; 0: before it is ready
    NEVER_READY = "never-ready"  # runs, but its readiness probe fails
    FLAP = "flap"  # Ready for `after` seconds, not Ready for `lasts`, and again
    UNPULLABLE = "unpullable"  # ErrImagePull, then ImagePullBackOff
    MISSING_CONFIG_MAP = "missing-configmap"  # ContainerCreating for ever
    KILLS_NODE = "kills-node"  # its node is lost `after` seconds after the start
    STUCK_TERMINATING = "stuck-terminating"  # ignores its deletion (for `lasts` seconds, if set)
    REJECTED = "rejected"  # the kubelet refuses the pod: phase Failed at once
    EXITS = "exits"  # ends with `exit_code` after `after` seconds (for Jobs)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; None in a number means the default of its kind."""

    kind: FaultKind
    after: float | None = None  # seconds
    lasts: float | None = None  # seconds
    exit_code: int = 1
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What is known of an image; None is left to less particular entries."""

    start: Timing | None = None
    stop: Timing | None = None
    fault: Fault | None = None
    logs: tuple[str, ...] | None = None
    cpu: float | None = None  # cores that its containers use; None: a share of their requests
    memory: float | None = None  # bytes

    def over(self, other: Behaviour) -> Behaviour:
        """Return this, with what it leaves open taken from `other`."""
        gaps = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if getattr(self, field.name) is None
        }
        return replace(self, **gaps) if gaps else self


DEFAULT: Final = Behaviour(start=Timing(DEFAULT_START), stop=Timing(DEFAULT_STOP), logs=())


class Images:
    """The behaviour of every image on every node."""

    def __init__(
        self, entries: Mapping[str, Behaviour] | None = None, default: Behaviour = DEFAULT
    ) -> None:
        self._default = default.over(DEFAULT)
        self._entries = dict(entries or {})
        self._known: dict[tuple[str, str], Behaviour] = {}
        self._by_node = False
        self._keys: dict[str, list[str]] = {}  # by the node, or node pattern, in them
        self._patterns: list[str] = []
        self._forget()

    def behaviour(self, image: str, node: str) -> Behaviour:
        """Return what the image does on the node, with no gaps but for the fault."""
        key = (image, node if self._by_node else "")
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._resolve(image, node)
        return known

    def entries(self) -> dict[str, Behaviour]:
        """Return all entries as set."""
        return dict(self._entries)

    def set(self, key: str, behaviour: Behaviour | None) -> None:
        """Replace the entry of a key; None takes it away."""
        if behaviour is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = behaviour
        self._forget()

    def set_fault(self, key: str, fault: Fault | None) -> None:
        """Change only the fault of a key; None heals it."""
        entry = replace(self._entries.get(key, Behaviour()), fault=fault)
        self.set(key, None if entry == Behaviour() else entry)

    def clear_faults(self) -> None:
        """Heal everything."""
        for key in tuple(self._entries):
            self.set_fault(key, None)

    def _forget(self) -> None:
        self._known.clear()
        self._by_node = any("@" in key for key in self._entries)
        self._keys = {}
        for key in self._entries:
            self._keys.setdefault(_split(key)[1], []).append(key)
        self._patterns = [pattern for pattern in self._keys if "*" in pattern]

    def _resolve(self, image: str, node: str) -> Behaviour:
        places = [node, *(p for p in self._patterns if _like(p, node) and p != node)]
        keys = [key for place in places for key in self._keys.get(place, ())]
        fitting = [key for key in keys if _like(_split(key)[0], image)]
        fitting.sort(key=_rank)
        result = Behaviour()
        for key in fitting:
            result = result.over(self._entries[key])
        return result.over(self._default)


def _split(key: str) -> tuple[str, str]:
    """Return image and node pattern; the `@sha256:...` of a digest belongs to the image."""
    head, at, tail = key.rpartition("@")
    if not at or ":" in tail:
        return key, "*"
    return head, tail


def _rank(key: str) -> tuple[bool, bool, bool, int, str]:
    """Order keys from particular to general; the later of two like ones is the shorter."""
    image_pattern, node_pattern = _split(key)
    return (
        node_pattern == "*",
        "*" in node_pattern,
        "*" in image_pattern,
        -len(key),
        key,
    )


def _like(pattern: str, text: str) -> bool:
    if "*" not in pattern:
        return pattern == text
    return _glob(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
