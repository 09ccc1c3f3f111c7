"""Every recorded exchange with a real 1.36 API server, replayed against the embedded one."""

from __future__ import annotations

import pytest

from tests.fidelity.recordings import COMPACTED, HISTORY, exchanges, load
from tests.fidelity.replay import Replay, world


@pytest.fixture(scope="module")
def history() -> dict[str, list[str]]:
    with world() as cluster:
        replay = Replay(cluster)
        for file in HISTORY:
            replay.run(load(file))
        return replay.differences


@pytest.fixture(scope="module")
def compacted() -> dict[str, list[str]]:
    """The second cluster: three ConfigMaps; what was read first is compacted before the rest."""
    with world() as cluster:
        cluster.create_config_maps("c0", "c1", "c2")
        replay = Replay(cluster)
        first, *rest = load(COMPACTED[0])
        replay.run([first])
        cluster.grow_old()
        replay.run(rest)
        return replay.differences


@pytest.mark.parametrize("name", [exchange.id for exchange in exchanges(COMPACTED)])
def test_answer_about_what_is_gone_is_the_recorded_one(
    compacted: dict[str, list[str]], name: str
) -> None:
    assert compacted[name] == []


def test_every_recorded_exchange_is_replayed() -> None:
    assert len(exchanges(HISTORY)) + len(exchanges(COMPACTED)) == 129


@pytest.mark.parametrize("name", [exchange.id for exchange in exchanges(HISTORY)])
def test_answer_is_the_recorded_one(history: dict[str, list[str]], name: str) -> None:
    assert history[name] == []
