"""Gates that wait for people and for the clock."""

from __future__ import annotations

from typing import Annotated

import msgspec

from rollout.gatespec.base import Duration, GateBase, check_positive_duration
from rollout.openings import LONGEST_S, Window, check_cron, check_zone
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
    """A span of time that comes again, in which steps may begin or in which none may.

    It opens when the cron expression says so by the clock of its zone, and lasts for a length of
    real time.
    """

    allow: Name | None = None  # cron: minute, hour, day of month, month, day of week
    deny: Name | None = None
    for_: Duration = msgspec.field(name="for")
    time_zone: str = "UTC"  # IANA name

    def __post_init__(self) -> None:
        if (self.allow is None) == (self.deny is None):
            raise ValueError("give exactly one of allow and deny")
        checked("allow" if self.deny is None else "deny", check_cron, self.window.cron)
        checked("timeZone", check_zone, self.time_zone)
        checked("for", check_positive_duration, self.for_)
        if self.window.length_s > LONGEST_S:
            raise ValueError("for: is over a year; leave the window out instead")

    @property
    def window(self) -> Window:
        """What the arithmetic of windows works with."""
        cron = self.allow if self.allow is not None else self.deny or ""
        length, allows = parse_duration(self.for_), self.allow is not None
        return Window(cron, length, self.time_zone, allows=allows)


class WindowGate(GateBase, frozen=True, kw_only=True, tag="window"):
    """Open inside a window that allows and outside all that deny; what has begun is finished."""

    windows: Annotated[tuple[WindowRule, ...], msgspec.Meta(min_length=1)]
    enough: Duration | None = None  # time that must be left; None: the forecast of a step

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if self.enough is not None:
            checked("enough", parse_duration, self.enough)
