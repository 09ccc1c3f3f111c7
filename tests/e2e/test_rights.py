"""The roles that README.md gives suffice for what it says, and hold nothing beyond it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.cli.saved import read_plan
from rollout.executor.precheck import needed_permissions
from rollout.sim.fleetfile import Rule, User
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, World, fleet, world

ROOT = Path(__file__).parents[2]
HERE = ("-n", NAMESPACE)
SURGE = {"maxSurge": 1, "maxUnavailable": 0}
CANARY = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
NAMING_RUNS = {("list", "coordination.k8s.io", "leases")}  # who holds a lock: status, runs


def roles(name: str) -> list[dict[str, Any]]:
    section = (ROOT / "README.md").read_text().partition("### Rights\n")[2]
    found = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return [r for r in yaml.safe_load_all(found[1]) if r["metadata"]["name"] == name]


def user(name: str) -> User:
    rules = tuple(
        Rule(
            verbs=tuple(rule["verbs"]),
            api_groups=tuple(rule["apiGroups"]),
            resources=tuple(rule["resources"]),
            resource_names=tuple(rule.get("resourceNames", ())),
            namespaces=(NAMESPACE,) if role["kind"] == "Role" else (),
        )
        for role in roles(name)
        for rule in role["rules"]
    )
    return User(name, f"{name}-token", rules=rules)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    described = fleet(3, users=(user("rollout"), user("rollout-view")))
    with world(described, tmp_path) as made:
        yield made


def become(cluster: World, name: str) -> None:
    """From here on all commands are this user's."""
    cluster.write_kubeconfig("kubeconfig", f"{name}-token")


@pytest.mark.parametrize("strategy", [{"maxUnavailable": 1}, SURGE])
def test_the_roles_of_the_readme_suffice(cluster: World, strategy: dict[str, int]) -> None:
    become(cluster, "rollout")
    plan = cluster.plan(cluster.spec(strategy=strategy, waves=CANARY))
    checked = cluster.rollout("verify", plan)
    assert checked.code == 0, checked.out
    assert cluster.rollout("apply", plan).code == 6
    looked = cluster.rollout("status", NAME, *HERE)
    assert (looked.code, looked.err) == (0, "")
    back = cluster.rollout("rollback", "log-agent-2.4", *HERE)
    assert (back.code, back.err) == (4, ""), back.err
    assert set(cluster.images().values()) == {OLD}
    again = cluster.rollout("apply", "-f", cluster.spec(strategy=strategy), "--yes")
    assert again.code == 0, again.err
    assert set(cluster.images().values()) == {NEW}


def test_who_may_only_look_sees_status_history_and_runs(cluster: World) -> None:
    assert cluster.rollout("apply", cluster.plan(cluster.spec(waves=CANARY))).code == 6
    become(cluster, "rollout-view")
    for command in (("status", NAME), ("history", NAME), ("runs",)):
        done = cluster.rollout(*command, *HERE)
        assert (done.code, done.err) == (0, "")
        assert "paused" in done.out


def test_they_hold_nothing_that_no_run_wants(cluster: World) -> None:
    plan = read_plan(cluster.plan(cluster.spec(strategy=SURGE)))
    wanted = {(one.verb, one.group, one.resource) for one in needed_permissions(plan)}
    given = {
        (verb, group, resource)
        for role in roles("rollout")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given - NAMING_RUNS == wanted
