"""Namespaces that are deleted."""

from __future__ import annotations

import pytest

from rollout.sim.errors import StatusError
from rollout.sim.fleetfile import DaemonSetEntry
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, NAMESPACES, PODS
from rollout.sim.steadystate import ADMIN
from tests.sim.smallworld import SmallWorld


def test_everything_in_a_deleted_namespace_goes_and_then_the_namespace() -> None:
    entry = DaemonSetEntry(name="agent", namespace="logging", image="agent:v1")
    world = SmallWorld(2, entry=entry)
    world.registry.create(CONFIG_MAPS, "logging", {"metadata": {"name": "c"}}, ADMIN)
    world.registry.delete(NAMESPACES, "", "logging", ADMIN)
    world.wait(0.1)
    assert world.get(NAMESPACES, "logging")["status"]["phase"] == "Terminating"
    with pytest.raises(StatusError) as refused:
        world.registry.create(CONFIG_MAPS, "logging", {"metadata": {"name": "d"}}, ADMIN)
    assert refused.value.code == 403
    world.wait(10)
    assert world.store.get(NAMESPACES, ("", "logging")) is None
    for resource in (CONFIG_MAPS, DAEMONSETS, PODS):
        assert list(world.store.scan(resource, "logging")) == []


def test_another_namespace_is_not_touched() -> None:
    world = SmallWorld(2)
    world.registry.create(NAMESPACES, "", {"metadata": {"name": "other"}}, ADMIN)
    world.registry.delete(NAMESPACES, "", "other", ADMIN)
    world.wait(10)
    assert len(world.pods()) == 2
