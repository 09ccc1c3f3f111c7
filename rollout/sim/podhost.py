"""What the life of a pod on its node needs of the kubelet, and what it keeps of a container."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rollout.sim.clock import Clock, Timer
from rollout.sim.images import Fault, Images
from rollout.sim.podstatus import ContainerRun
from rollout.sim.store import Key, Object


class Life(Protocol):
    """What a kubelet sees of a pod's life."""

    key: Key
    uid: str
    node: str
    containers: list[ContainerRun]

    def statuses(self) -> list[Object]:
        """Return `status.containerStatuses`."""


class Host(Protocol):
    """What a pod's life needs of its kubelet."""

    clock: Clock
    rng: random.Random
    images: Images

    def live(self, run: Life) -> Object | None:
        """Return the pod as stored, None when it is gone or another one has its name."""

    def write(self, run: Life, phase: str, *, sandbox: bool, reason: str, message: str) -> None:
        """Report the pod's status."""

    def remove(self, run: Life) -> None:
        """Tell the server that the pod has ended."""

    def record(self, run: Life, type_: str, reason: str, message: str) -> None:
        """Write an event about the pod."""

    def settled(self, run: Life) -> None:
        """Hear that nothing goes on any more with the pod."""

    def alive(self, node: str, callback: Callable[[], None]) -> bool:
        """Whether the node works; if not, it will call back when it does."""

    def lose_node(self, node: str) -> None:
        """Take the node down."""


@dataclass(slots=True)
class Program:
    """What a container does after its start, and how often it crashed."""

    fault: Fault | None = None
    timer: Timer | None = None
    delay: float = 0.0  # before the next restart
    started: float = 0.0
