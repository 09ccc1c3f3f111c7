"""A plan that does not fit the cluster any more is refused, or fitted anew where that is wished."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.errors import StaleError
from rollout.executor.fitting import DriftPolicy, fitted
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS
from tests.simulation.driver import make_plan, read_fleet
from tests.simulation.world import SOMEBODY, TARGET


class Place:
    """A cluster, and a plan that was made for it."""

    def __init__(self) -> None:
        self.cluster = Cluster(VirtualClock(), default_fleet(3, 1))
        self.cluster.start()
        self.plan = make_plan(
            self.cluster, {"daemonSets": [{"name": "log-agent", "target": TARGET}]}
        )

    def patch(self, spec: dict[str, Any]) -> None:
        body, kind = {"spec": spec}, PatchType.STRATEGIC
        self.cluster.registry.patch(DAEMONSETS, "logging", "log-agent", body, kind, SOMEBODY)

    def fitted(self, policy: DriftPolicy = "fail") -> Plan:
        fleets: dict[str, Fleet] = {"log-agent": read_fleet(self.cluster, "logging", "log-agent")}
        return fitted(self.plan, fleets, self.cluster.clock.now(), policy)


def test_a_plan_that_fits_is_taken_as_it_is() -> None:
    place = Place()
    assert place.fitted() is place.plan


@pytest.mark.parametrize("policy", ["fail", "reconcile", "ignore"])
def test_another_template_or_strategy_is_refused_whatever_is_wished(policy: DriftPolicy) -> None:
    place = Place()
    image = {"name": "agent", "image": "log-agent:9"}
    place.patch({"template": {"spec": {"containers": [image]}}})
    with pytest.raises(StaleError, match="template"):
        place.fitted(policy)


def test_a_node_that_joined_is_refused_reconciled_or_ignored_as_is_wished() -> None:
    place = Place()
    place.cluster.join_node("node-new", zone="zone-a")
    with pytest.raises(StaleError, match="node-new: absent -> joined"):
        place.fitted("fail")
    assert place.fitted("ignore") is place.plan
    reconciled = place.fitted("reconcile")
    names = [node.name for node in reconciled.daemon_sets[0].nodes]
    assert "node-new" in names
    assert reconciled != place.plan
