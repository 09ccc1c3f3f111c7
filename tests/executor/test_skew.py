"""Fault 29: our wall clock and the cluster's differ, or are set while a run goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest

from rollout.executor.engine.actions import Outcome
from rollout.sim import clock, server
from rollout.sim.images import Fault, FaultKind
from tests.clustertime import ClusterTime
from tests.e2e.world import NEW
from tests.executor.runworld import QUICK, run_world


@pytest.mark.parametrize(
    ("ahead_s", "said"),
    [(300.0, "300 s behind"), (-300.0, "300 s ahead of"), (2.0, "")],
)
def test_fault_29_a_wrong_clock_is_said_and_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: float, said: str
) -> None:
    cluster_time = ClusterTime(monkeypatch, ahead_s)
    with run_world(tmp_path) as world:
        health = {"soak": "200ms", "nodeTimeout": "4m"}
        result, heard = world.apply(world.planned(health=health))
        assert cluster_time.asked > 0
    assert result.finish.outcome is Outcome.DONE, result.finish.message
    assert 0.2 < result.account.longest_s < 240
    warned = [text for text in heard.warnings if "clock of this machine" in text]
    assert bool(warned) is bool(said)
    assert all(said in text for text in warned)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_fault_29_a_clock_that_is_set_in_mid_run_moves_no_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    cluster_time = ClusterTime(monkeypatch, 0.0)
    with run_world(tmp_path) as world:
        world.break_image(NEW, Fault(FaultKind.NEVER_READY))
        health = {"soak": "200ms", "nodeTimeout": "5m", "progressDeadline": "10m"}
        applying = world.applying(world.planned(strategy={"maxUnavailable": 1}, health=health))
        applying.heard.await_(lambda heard: heard.kinds("node-started"))
        cluster_time.ahead_s = jump_s
        world.break_image(NEW, None)
        result = applying.end()
    assert result.finish.outcome is Outcome.DONE, result.finish.message
    assert not applying.heard.kinds("node-failed")
    assert result.duration_s < 300


@dataclass
class _OurClock:
    ahead_s: float = 0.0
    asked: int = 0


LONG_S = 1800.0  # no busy machine makes a test last so long, and every jump is longer


@pytest.mark.parametrize("jump_s", [3600.0, 86_400.0, -86_400.0])
def test_fault_29_our_own_clock_that_is_set_in_mid_run_moves_no_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """Neither a deadline nor the soak nor the lease: all go by the monotonic clock."""
    real, ours = time.time, _OurClock()

    def now() -> float:
        ours.asked += 1
        return real() + ours.ahead_s

    cluster = SimpleNamespace(time=real, monotonic=time.monotonic)
    monkeypatch.setattr(clock, "time", cluster)
    monkeypatch.setattr(server, "formatdate", lambda *, usegmt: formatdate(real(), usegmt=usegmt))
    with run_world(tmp_path) as world:
        world.break_image(NEW, Fault(FaultKind.NEVER_READY))
        health = {"soak": "1s", "nodeTimeout": "30m", "progressDeadline": "50m"}
        plan = world.planned(strategy={"maxUnavailable": 1}, health=health)
        applying = world.applying(plan, replace(QUICK, lease_s=LONG_S))
        monkeypatch.setattr(time, "time", now)
        applying.heard.await_(lambda heard: heard.kinds("node-started"))
        before, ours.ahead_s = ours.asked, jump_s
        world.break_image(NEW, None)
        result = applying.end()
        assert ours.asked > before, "nobody looked at the clock that was set"
    assert result.finish.outcome is Outcome.DONE, result.finish.message
    assert not applying.heard.kinds("node-failed")
    assert 4.0 < result.duration_s < LONG_S, "each node has soaked"
    lock_trouble = [text for text in applying.heard.said if "the lock" in text]
    assert lock_trouble == []
