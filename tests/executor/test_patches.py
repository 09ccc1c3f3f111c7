"""Each patch is bound to one object and one state of it; one that takes back fits the selector."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.errors import StaleError
from rollout.executor.patches import (
    clean_patch,
    give_back_patch,
    prepare_patch,
    release_patch,
    restore_patch,
    take_back_patch,
)
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, Pod
from rollout.fleet.selectors import selector_of
from rollout.planner.plan import Plan
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet
from tests.fleet.builders import make_daemon_set, make_pod
from tests.simulation.driver import make_plan, read_fleet

APP_IN: dict[str, Any] = {"key": "app", "operator": "In", "values": ["agent", "agent-beta"]}
TIER_EXISTS: dict[str, Any] = {"key": "tier", "operator": "Exists"}
NO_DEBUG: dict[str, Any] = {"key": "debug", "operator": "DoesNotExist"}


def daemon_set(selector: dict[str, Any], labels: dict[str, str]) -> DaemonSet:
    raw = msgspec.to_builtins(make_daemon_set())
    raw["spec"]["selector"] = selector
    raw["spec"]["template"]["metadata"]["labels"] = labels
    return msgspec.convert(raw, DaemonSet)


def after(pod: Pod, patch: dict[str, Any]) -> dict[str, str]:
    """The labels of the pod when the server has merged the patch (RFC 7396)."""
    given = patch["metadata"]["labels"]
    kept = {key: value for key, value in pod.metadata.labels.items() if key not in given}
    return kept | {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    "selector",
    [
        {"matchExpressions": [APP_IN]},
        {"matchExpressions": [APP_IN, TIER_EXISTS, NO_DEBUG]},
        {"matchLabels": {"app": "agent"}, "matchExpressions": [TIER_EXISTS, APP_IN]},
        {"matchLabels": {"app": "agent", "tier": "edge"}},
    ],
    ids=["an expression", "three expressions", "both", "labels"],
)
@pytest.mark.parametrize("lost", ["app", "tier"])
def test_the_selector_matches_a_pod_that_was_taken_back(
    selector: dict[str, Any], lost: str
) -> None:
    labels = {"app": "agent", "tier": "edge"}
    live = daemon_set(selector, labels)
    left = {key: value for key, value in labels.items() if key != lost}
    pod = make_pod("agent-1", labels={**left, marks.RELEASED_FROM: "ds-uid", marks.RUN: "r1"})
    patch = take_back_patch(live, pod)
    assert selector_of(live.spec.selector).matches(after(pod, patch))
    assert not {marks.RELEASED_FROM, marks.RUN} & set(after(pod, patch))
    assert patch["metadata"]["uid"] == pod.metadata.uid
    assert patch["metadata"]["annotations"] == {marks.RELEASED_LABEL: None}


def test_what_the_pod_has_already_and_no_expression_needs_is_left_alone() -> None:
    live = daemon_set({"matchExpressions": [APP_IN, NO_DEBUG]}, {"app": "agent", "team": "logs"})
    pod = make_pod("agent-1", labels={"app": "agent-beta", marks.RELEASED_FROM: "ds-uid"})
    labels = take_back_patch(live, pod)["metadata"]["labels"]
    assert labels == {marks.RELEASED_FROM: None, marks.RUN: None}


# Bound to what they were made for


def prepared() -> tuple[Plan, DaemonSet]:
    cluster = Cluster(VirtualClock(), default_fleet(3, 1))
    cluster.start()
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
        "strategy": {"maxUnavailable": 0, "maxSurge": 1},
    }
    plan = make_plan(cluster, {"daemonSets": [item]})
    return plan, read_fleet(cluster, "logging", "log-agent").daemon_set


def test_a_patch_of_the_daemon_set_names_the_very_object_and_its_version() -> None:
    plan, live = prepared()
    (planned,) = plan.daemon_sets
    for patch in (
        prepare_patch(plan, planned, live, "run"),
        restore_patch(planned, live),
        clean_patch(live, {"type": "OnDelete"}),
        clean_patch(live, None),
    ):
        assert patch["metadata"]["uid"] == live.metadata.uid
        assert patch["metadata"]["resourceVersion"] == live.metadata.resource_version != ""


def test_a_patch_of_a_pod_names_the_very_pod() -> None:
    plan, _ = prepared()
    (planned,) = plan.daemon_sets
    assert release_patch(planned, "uid-1", "run")["metadata"]["uid"] == "uid-1"
    assert give_back_patch("uid-2", {})["metadata"]["uid"] == "uid-2"


def test_a_template_that_the_plan_has_not_seen_is_not_patched() -> None:
    plan, live = prepared()
    (planned,) = plan.daemon_sets
    raw = msgspec.to_builtins(live)
    raw["spec"]["template"]["spec"]["containers"][0]["command"] = ["other"]
    with pytest.raises(StaleError, match="not the one that the plan was made for"):
        prepare_patch(plan, planned, msgspec.convert(raw, DaemonSet), "run")
