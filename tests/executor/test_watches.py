"""Which records a run watches: those of all namespaces, or of its own if no others may be read."""

from __future__ import annotations

from pathlib import Path

from rollout.executor.engine.actions import Outcome
from rollout.sim.fleetfile import Rule, User
from tests.e2e.world import NAMESPACE, fleet
from tests.executor.runworld import QUICK, RUNNER, Applying, run_world

NARROW = "ConfigMaps may be read in namespace logging only"
ELSEWHERE = ("pods", "nodes", "namespaces", "leases", "daemonsets", "controllerrevisions")
GUEST = User(
    "guest",
    "guest-token",
    rules=(
        Rule(("*",), resources=("configmaps",), namespaces=(NAMESPACE,)),
        Rule(("*",), ("*",), (*ELSEWHERE, "selfsubjectaccessreviews")),
    ),
)


def test_where_only_its_own_namespace_may_be_read_a_run_says_so_and_goes_on(tmp_path: Path) -> None:
    with run_world(tmp_path, described=fleet(4, users=(GUEST, RUNNER))) as world:
        applying = Applying(world.client(GUEST.token), world.planned(), QUICK)
        result = applying.end()
        assert result.finish.outcome is Outcome.DONE
        assert len([said for said in applying.heard.said if NARROW in said]) == 1


def test_a_run_that_may_read_all_says_nothing_of_that(tmp_path: Path) -> None:
    with run_world(tmp_path) as world:
        result, heard = world.apply(world.planned())
    assert result.finish.outcome is Outcome.DONE
    assert not [said for said in heard.said if NARROW in said]
