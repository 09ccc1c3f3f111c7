"""A cluster whose wall clock is not ours."""

from __future__ import annotations

import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from rollout.sim import clock, server


class ClusterTime:
    """The wall clock of the cluster, which all that it writes and answers is stamped with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        self.asked = 0
        fake = SimpleNamespace(time=self.now, monotonic=time.monotonic)
        monkeypatch.setattr(clock, "time", fake)
        monkeypatch.setattr(server, "formatdate", self.date)

    def now(self) -> float:
        return time.time() + self.ahead_s

    def date(self, *, usegmt: bool) -> str:
        self.asked += 1
        return formatdate(self.now(), usegmt=usegmt)
