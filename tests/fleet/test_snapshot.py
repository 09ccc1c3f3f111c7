from __future__ import annotations

import msgspec
import pytest

from rollout.errors import StaleError
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, Pod
from rollout.fleet.snapshot import Fleet, build_fleet, precedence
from tests.fleet.builders import (
    make_daemon_set,
    make_node,
    make_pod,
    make_revision,
    owner,
)

GENERATION = "deprecated.daemonset.template.generation"


def snapshot(daemon_set: DaemonSet | None = None, *pods: Pod) -> Fleet:
    nodes = [make_node("n2"), make_node("n1")]
    revisions = [make_revision(2, "h2"), make_revision(1, "h1")]
    return build_fleet("cluster", daemon_set or make_daemon_set(), {}, revisions, nodes, pods)


def affine_pod(name: str, node: str) -> Pod:
    raw = {
        "metadata": {"name": name, "uid": name, "ownerReferences": [owner()]},
        "spec": {
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {
                                "matchFields": [
                                    {"key": "metadata.name", "operator": "In", "values": [node]}
                                ]
                            }
                        ]
                    }
                }
            }
        },
    }
    return msgspec.convert(raw, Pod)


def test_nodes_are_in_the_order_of_their_names() -> None:
    assert list(snapshot().nodes) == ["n1", "n2"]


def test_pods_of_another_owner_stay_out() -> None:
    foreign = make_pod("p", "n1", ownerReferences=[owner("someone-else")])
    orphan = make_pod("q", "n1", ownerReferences=[])
    mentioned = make_pod("r", "n1", ownerReferences=[owner(controller=False)])
    assert snapshot(None, foreign, orphan, mentioned).pods == {}


def test_a_pending_pod_belongs_to_the_node_that_its_affinity_names() -> None:
    assert [p.metadata.name for p in snapshot(None, affine_pod("p", "n2")).pods["n2"]] == ["p"]


def test_a_pod_without_node_and_affinity_belongs_to_no_node() -> None:
    assert snapshot(None, make_pod("p", "")).pods == {}


def test_pods_on_a_node_that_is_gone_are_kept_under_its_name() -> None:
    assert "gone" in snapshot(None, make_pod("p", "gone")).pods


def test_bound_pods_come_before_older_ones_and_those_before_names() -> None:
    pending = affine_pod("a", "n1")
    young = make_pod("b", "n1", creationTimestamp="2026-01-02T00:00:00Z")
    old = make_pod("z", "n1", creationTimestamp="2026-01-01T00:00:00Z")
    twin = make_pod("c", "n1", creationTimestamp="2026-01-02T00:00:00Z")
    found = snapshot(None, pending, twin, young, old).pods["n1"]
    assert [p.metadata.name for p in found] == ["z", "b", "c", "a"]
    assert list(found) == sorted(found, key=precedence)


def test_the_current_revision_is_the_one_with_the_highest_number() -> None:
    fleet = snapshot()
    assert fleet.current is not None
    assert fleet.current.revision == 2
    assert fleet.current_hash == "h2"


def test_a_pod_is_current_by_hash_or_by_generation() -> None:
    daemon_set = make_daemon_set(annotations={GENERATION: "5"})
    by_hash = make_pod("a", "n1", labels={"controller-revision-hash": "h2"})
    by_generation = make_pod("b", "n1", labels={"pod-template-generation": "5"})
    old = make_pod("c", "n1", labels={"controller-revision-hash": "h1"})
    fleet = snapshot(daemon_set, by_hash, by_generation, old)
    assert [fleet.is_current(p) for p in (by_hash, by_generation, old)] == [True, True, False]


@pytest.mark.parametrize("annotation", ["", "x", "-1", "1.5"])
def test_a_generation_that_cannot_be_read_switches_that_rule_off(annotation: str) -> None:
    daemon_set = make_daemon_set(annotations={GENERATION: annotation})
    assert daemon_set.template_generation is None
    assert not snapshot(daemon_set).is_current(
        make_pod("a", "n1", labels={"pod-template-generation": annotation})
    )


def test_a_pods_revision_is_named_by_its_hash_while_it_is_remembered() -> None:
    fleet = snapshot()
    known = make_pod("a", "n1", labels={"controller-revision-hash": "h1"})
    pruned = make_pod("b", "n1", labels={"controller-revision-hash": "h0"})
    bare = make_pod("c", "n1")
    revision = fleet.revision_of(known)
    assert revision is not None
    assert revision.revision == 1
    assert fleet.revision_of(pruned) is None
    assert fleet.revision_of(bare) is None


def test_the_owners_strategy_is_the_stored_one_while_a_run_has_set_on_delete() -> None:
    text = '{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"10%"}}'
    fleet = snapshot(make_daemon_set(annotations={marks.ORIGINAL_STRATEGY: text}))
    assert fleet.owner_strategy["rollingUpdate"] == {"maxUnavailable": "10%"}


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_stored_strategy_that_somebody_broke_is_said_to_be_so(text: str) -> None:
    fleet = snapshot(make_daemon_set(annotations={marks.ORIGINAL_STRATEGY: text}))
    with pytest.raises(StaleError, match=r"restore spec\.updateStrategy by hand"):
        _ = fleet.owner_strategy
