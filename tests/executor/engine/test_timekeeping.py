"""The account of whole runs, over the real edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.executor.engine.accounting import Account
from rollout.executor.engine.actions import Outcome
from tests.e2e.world import fleet
from tests.executor.runworld import RUNNER, run_world


def adds_up(account: Account) -> bool:
    total = account.least_s + sum(account.lost.values())
    return total == pytest.approx(account.makespan_s, abs=1e-6)


def test_the_time_of_a_run_is_accounted_for(tmp_path: Path) -> None:
    described = fleet(6, users=(RUNNER,))
    waves = [{"name": "canary", "size": 1, "bake": "1s"}, {"name": "rest"}]
    with run_world(tmp_path, described=described) as world:
        result, _ = world.apply(world.planned(waves=waves, strategy={"maxUnavailable": 2}))
    account = result.account
    assert result.finish.outcome is Outcome.DONE
    assert adds_up(account)
    assert account.limit == 2
    assert account.makespan_s >= result.duration_s
    assert account.least_s >= account.nodes_s / 2 > 6 * 0.2 / 2, "start, stop, soak of each node"
    assert account.lost["bake"] >= 0.99
    assert account.lost["prepare"] > 0
    assert account.lost["waves"] > 0, "the canary ran alone"
    assert set(account.lost) <= {
        *("bake", "prepare", "waves", "tail", "reaction", "restore", "limits", "API limit")
    }


def test_the_pace_that_the_spec_asks_for_is_called_by_its_name(tmp_path: Path) -> None:
    with run_world(tmp_path) as world:
        plan = world.planned(strategy={"maxUnavailable": 4}, limits={"replacementsPerSecond": 1})
        result, _ = world.apply(plan)
    assert adds_up(result.account)
    assert max(result.account.lost, key=result.account.lost.__getitem__) == "rate limit"


def test_a_server_that_asks_for_patience_is_called_the_api_limit(tmp_path: Path) -> None:
    match = "match: {users: [runner], verbs: [delete], resources: [pods]}"
    busy = f"faults: [{{name: busy, {match}, throttle: 2s, count: 1}}]"
    with run_world(tmp_path, busy) as world:
        result, _ = world.apply(world.planned(strategy={"maxUnavailable": 1}))
        assert world.hits("busy") == 1
        assert set(world.deletes().values()) == {1}
    assert adds_up(result.account)
    assert result.account.lost["API limit"] > 1.0
