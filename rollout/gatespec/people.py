"""Gates that wait for people and for the clock."""

from __future__ import annotations

from typing import Literal

from rollout.gatespec.base import Duration, GateBase, check_positive_duration
from rollout.quantity import parse_duration
from rollout.specfields import Name, Positive, Struct, checked


class ApprovalGate(GateBase, frozen=True, kw_only=True, tag="approval"):
    """Waits until people have approved; the plan's author doesn't count."""

    approvers: tuple[Name, ...] = ()  # empty: anybody but the author
    minimum: Positive = 1

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if self.approvers and self.minimum > len(set(self.approvers)):
            raise ValueError("minimum: is above the number of approvers; nobody could open it")


class PauseGate(GateBase, frozen=True, kw_only=True, tag="pause"):
    """Waits for a duration."""

    duration: Duration

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        checked("duration", check_positive_duration, self.duration)


class WindowRule(Struct, frozen=True, kw_only=True):
    """One span of time that begins when a cron expression says so."""

    cron: Name
    duration: Duration

    def __post_init__(self) -> None:
        checked("duration", check_positive_duration, self.duration)


class WindowGate(GateBase, frozen=True, kw_only=True, tag="window"):
    """Open inside its allowed times and outside its denied ones."""

    allow: tuple[WindowRule, ...] = ()  # empty: always
    deny: tuple[WindowRule, ...] = ()
    time_zone: str = "UTC"
    enough: Duration | None = None  # time that must be left; None: the forecast of a step
    on_close: Literal["finish-node"] = "finish-node"

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if self.enough is not None:
            checked("enough", parse_duration, self.enough)
        if not (self.allow or self.deny):
            raise ValueError("allow: give allow, deny or both")
