"""What all kinds of gates have in common, with every default in one place.

Names and arithmetic are those of Argo Rollouts' metrics; where its default lets something unknown
pass, ours does not.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

import msgspec

from rollout.fleet.selectors import parse_label_selector
from rollout.quantity import parse_duration
from rollout.specfields import Name, NonNegative, Positive, Struct, checked

At = Literal[
    "preflight",
    "before-wave",
    "before-node",
    "after-node",
    "after-wave",
    "background",
    "after-run",
]
Reaction = Literal["hold", "rollback", "abort"]
Duration = int | str

INTERVAL_DEFAULT = "30s"
TIMEOUT_DEFAULT = "30s"
DEADLINE_DEFAULT = "1h"
CONSECUTIVE_ERRORS_DEFAULT = 4  # Argo Rollouts' DefaultConsecutiveErrorLimit
UNLIMITED = -1  # failureLimit: failures don't end it, only consecutiveSuccessLimit does
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")


def check_name(value: str) -> None:
    """Refuse what could not stand in a vertex id or a file name.

    Raises:
        ValueError: when the name has other characters than letters, digits, `-`, `_` and `.`.
    """
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"'{value}' is not a gate's name; use at most 63 letters, digits, '-', '_' and '.'"
        )


def check_positive_duration(value: Duration) -> None:
    """Refuse a duration of nothing.

    Raises:
        ValueError: when it is no duration, or 0.
    """
    if parse_duration(value) <= 0:
        raise ValueError("0 is no time at all; write for example '30s'")


class When(Struct, frozen=True, kw_only=True):
    """`when`: where the gate is asked; all that is given must hold. Nothing given: everywhere."""

    waves: tuple[Name, ...] = ()
    zones: tuple[Name, ...] = ()
    labels: str = ""  # selector of nodes

    def __post_init__(self) -> None:
        checked("labels", parse_label_selector, self.labels)


class SecretKey(Struct, frozen=True, kw_only=True):
    """`secretRef.secret`: a key of a Kubernetes Secret."""

    name: Name
    key: Name
    namespace: str = ""  # the rollout's own


class SecretRef(Struct, frozen=True, kw_only=True):
    """`secretRef`: where a secret is read from when it is needed; exactly one of them."""

    env: Name | None = None
    file: Name | None = None
    secret: SecretKey | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.env, self.file, self.secret)) != 1:
            raise ValueError("give exactly one of env, file, secret")


class ThresholdRange(Struct, frozen=True, kw_only=True):
    """`thresholdRange`: a number passes when it lies between the two, both included."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if not all(math.isfinite(value) for value in (self.min, self.max) if value is not None):
            raise ValueError("min and max are plain numbers; leave out the side without a limit")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min: {self.min:g} is above max {self.max:g}; nothing could pass")


class GateBase(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The common fields. Durations as everywhere: `90`, `30s`, `1h30m`."""

    name: Name
    at: At
    when: When = When()
    initial_delay: Duration = 0  # before the first measurement
    interval: Duration = INTERVAL_DEFAULT  # from the begin of a measurement to the next one
    count: Positive | None = None  # measurements; None: 1, and at background until the end
    timeout: Duration = TIMEOUT_DEFAULT  # of one measurement
    failure_limit: Annotated[int, msgspec.Meta(ge=UNLIMITED)] = 0  # failed when more have failed
    consecutive_error_limit: NonNegative = CONSECUTIVE_ERRORS_DEFAULT
    inconclusive_limit: NonNegative = 0
    consecutive_success_limit: Positive | None = None  # passes when so many passed in a row
    success_condition: str | None = None  # CEL on result, node, wave, revisions
    failure_condition: str | None = None
    threshold_range: ThresholdRange | None = None
    on_failure: Reaction | None = None  # None: the spec's failure.onFailure
    on_inconclusive: Reaction = "hold"
    on_error: Reaction = "hold"
    on_no_data: Literal["inconclusive", "failure"] = "inconclusive"
    dry_run: bool = False  # measured and told, decides nothing
    deadline: Duration | None = None  # of the whole gate; None: see rules_of
    secret_ref: SecretRef | None = None

    @property
    def kind(self) -> str:
        """The kind, as the spec writes it."""
        return str(self.__struct_config__.tag)

    @property
    def precedes(self) -> bool:
        """Whether it is asked before what it stands at is changed: there may be no new pod yet."""
        return self.at in ("preflight", "before-wave", "before-node")

    def __post_init__(self) -> None:
        checked("name", check_name, self.name)
        checked("initialDelay", parse_duration, self.initial_delay)
        checked("interval", check_positive_duration, self.interval)
        checked("timeout", check_positive_duration, self.timeout)
        if self.deadline is not None:
            checked("deadline", check_positive_duration, self.deadline)
            if parse_duration(self.deadline) <= parse_duration(self.initial_delay):
                raise ValueError("deadline: must be longer than initialDelay, or nothing is asked")
        self._check_conditions()
        self._check_counts()

    def _check_conditions(self) -> None:
        if self.threshold_range and (self.success_condition or self.failure_condition):
            raise ValueError(
                "thresholdRange: excludes successCondition and failureCondition; keep one way"
            )
        for field, text in (
            ("successCondition", self.success_condition),
            ("failureCondition", self.failure_condition),
        ):
            if text is not None and not text.strip():
                raise ValueError(f"{field}: is empty; write an expression or leave the key out")

    def _check_counts(self) -> None:
        if self.failure_limit == UNLIMITED and self.consecutive_success_limit is None:
            raise ValueError(
                "failureLimit: -1 (no limit) needs consecutiveSuccessLimit, or nothing could fail"
            )
        if self.count is None:
            return
        if self.failure_limit >= self.count:
            raise ValueError(
                f"failureLimit: {self.failure_limit} of {self.count} measurements could never be "
                "exceeded; write less than count"
            )
        if (self.consecutive_success_limit or 0) > self.count:
            raise ValueError("consecutiveSuccessLimit: is above count; it could never be reached")
