"""The servers outside of the cluster that gates ask: what they answer, and since when not.

A gate `NAME` of kind http, webhook or prometheus asks `https://gates.example/NAME`. What it hears
is good, unless a `Turn` says otherwise at that time. Every good answer is kept, so that a judge can
hold the verdict of a gate against it. Below `https://gates.example/NAME/trip` stands an alarm, for
webhooks that mean roll back: good is a clear no there. Of the program only
`rollout.gates.outside.ask` is not the real one: its check of the target is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from rollout.gates.outside import Answer, Call, OutsideError
from rollout.gates.settings import Settings
from rollout.gates.targets import check_host, parse_target

HOST = "gates.example"
GOOD, BAD = 0.1, 0.9  # what a measured share is; the gates of stories want at most 0.5
LIMIT = 0.5
STALE_S = 600.0  # age of a sample that lags behind
CONFIG = f"gates:\n  hosts: [{HOST}]\n"

How = Literal["bad", "error", "gone", "silent", "garbled", "empty", "late", "nan", "wait"]


class Turn(msgspec.Struct, frozen=True):
    """What a gate looks at is not well for a while."""

    gate: str
    at: float  # seconds from the begin of the story
    lasts: float
    how: How = "bad"


class Outside:
    """All servers that are not the cluster.

    Args:
        now: the time.
        sleep: lets the asking task wait.
    """

    def __init__(self, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.turns: tuple[Turn, ...] = ()
        self.began = math.inf  # when the story began, from which turns count
        self.good: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._now = now
        self._sleep = sleep

    def state(self, gate: str) -> How | Literal["good"]:
        """Return how it is with what a gate looks at."""
        since = self._now() - self.began
        for turn in self.turns:
            if turn.gate == gate and turn.at <= since < turn.at + turn.lasts:
                return turn.how
        return "good"

    def ask(self, process: str, call: Call, settings: Settings) -> Answer:
        """Answer one request of a process.

        Raises:
            TargetRefused: the caller doesn't allow the target.
            OutsideError: there is no answer.
        """
        target = parse_target(call.url)
        check_host(target, settings)
        gate, _, below = target.path.partition("?")[0].strip("/").partition("/")
        self._sleep(0.01)
        how = self.state(gate)
        if how == "good":
            self.good[process, gate].append(self._now())
        if how == "silent":
            self._sleep(call.timeout_s)
            raise OutsideError(f"{HOST}: no whole answer within {call.timeout_s:g} s")
        if how == "gone":
            raise OutsideError(f"{HOST} cannot be reached: Connection refused")
        if how == "garbled":
            return Answer(200, b'{"status": "succ')
        if "/api/v1/" in target.path:
            return self._prometheus(how, ages="timestamp" in call.url)
        if below == "trip":
            return Answer({"good": 404, "bad": 200}.get(how, 500), b"")
        if call.method == "POST":
            return Answer({"good": 204, "wait": 409}.get(how, 500), b"")
        return self._http(how)

    def _http(self, how: str) -> Answer:
        if how == "error":
            return Answer(503, b"overloaded")
        share = {"good": GOOD, "bad": BAD, "nan": "NaN"}.get(how)
        return Answer(200, msgspec.json.encode({} if share is None else {"share": share}))

    def _prometheus(self, how: str, *, ages: bool) -> Answer:
        if how in ("error", "wait"):
            return Answer(503, b'{"status": "error", "error": "overloaded"}')
        value = {"bad": BAD, "nan": math.nan}.get(how, GOOD)
        at = self._now() - (STALE_S if how == "late" else 0.0)
        sample: dict[str, Any] = {"metric": {}, "value": [at, str(at if ages else value)]}
        data = {"resultType": "vector", "result": [] if how == "empty" else [sample]}
        return Answer(200, msgspec.json.encode({"status": "success", "data": data}))
