"""Who we are for the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.cluster.client import connect
from rollout.cluster.identity import cluster_user
from rollout.sim.fleetfile import User
from tests.e2e.world import fleet, world


@pytest.mark.parametrize("name", ["ben", "eva@example.com"])
def test_the_cluster_says_who_we_are_whatever_we_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "somebody-else")
    with world(fleet(1, users=(User(name, "his-word"),)), tmp_path) as cluster:
        client = connect(cluster.write_kubeconfig("his", "his-word"))
        try:
            assert cluster_user(client) == name
        finally:
            client.close()
