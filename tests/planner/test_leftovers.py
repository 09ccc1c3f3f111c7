from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from rollout.fleet import marks
from rollout.fleet.objects import (
    HASH_LABEL,
    Condition,
    ControllerRevision,
    DaemonSet,
    JsonObject,
    Meta,
    Node,
    Owner,
    Pod,
    PodMeta,
    PodSpec,
    PodStatus,
)
from rollout.fleet.released import ReleasedPod
from rollout.fleet.snapshot import Fleet, build_fleet
from rollout.planner.leftovers import (
    LEFT_OVER,
    Leftovers,
    find_leftovers,
    leftover_warnings,
    orphans,
)

NOW = 1_800_000_000.0
UID = "ds-uid"
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
READY = PodStatus(phase="Running", conditions=(Condition("Ready", "True"),))
MARKED = {
    marks.RUN: "r1",
    marks.ROLLOUT: "logging/agent-2",
    marks.PLAN: "d",
    marks.ORIGINAL_STRATEGY: msgspec.json.encode(ROLLING).decode(),
}


def daemon_set(strategy: str = "OnDelete", annotations: dict[str, str] | None = None) -> DaemonSet:
    return msgspec.convert(
        {
            "metadata": {
                "name": "agent",
                "namespace": "logging",
                "uid": UID,
                "annotations": annotations or {},
            },
            "spec": {
                "selector": {"matchLabels": {"app": "agent"}},
                "template": {"metadata": {"labels": {"app": "agent"}}},
                "updateStrategy": {"type": strategy},
            },
        },
        DaemonSet,
    )


def pod(node: str, *, ready: bool = True, hash_: str = "new") -> Pod:
    owner = Owner("DaemonSet", "agent", UID, controller=True)
    meta = PodMeta(
        f"agent-{node}", f"u-{node}", labels={HASH_LABEL: hash_}, owner_references=(owner,)
    )
    return Pod(meta, PodSpec(node), READY if ready else PodStatus())


def released(node: str, uid: str = UID, *, ready: bool = True, going: bool = False) -> ReleasedPod:
    meta = Meta(
        name=f"old-{node}",
        uid=f"o-{node}",
        labels={marks.RELEASED_FROM: uid, marks.RUN: "r1"},
        annotations={marks.RELEASED_LABEL: "app=agent"},
        deletion_timestamp="2027-01-01T00:00:00Z" if going else None,
    )
    return ReleasedPod(meta, PodSpec(node), READY if ready else PodStatus())


def fleet(live: DaemonSet, *pods: Pod, nodes: tuple[str, ...] = ("n1", "n2")) -> Fleet:
    revision = {
        "metadata": {
            "name": "agent-new",
            "labels": {HASH_LABEL: "new"},
            "ownerReferences": [
                {"kind": "DaemonSet", "name": "agent", "uid": UID, "controller": True}
            ],
        },
        "revision": 2,
    }
    revisions = [msgspec.convert(revision, ControllerRevision)]
    return build_fleet("c", live, {}, revisions, [Node(Meta(name=n)) for n in nodes], pods)


def found(
    live: DaemonSet,
    pods: tuple[Pod, ...] = (),
    old: tuple[ReleasedPod, ...] = (),
    recorded: JsonObject | None = None,
    *,
    force: bool = False,
) -> Leftovers:
    known = replace(fleet(live, *pods), recorded_strategy=recorded)
    return find_leftovers(known, old, NOW, force=force)


def actions(left: Leftovers) -> list[tuple[str, str]]:
    return [(item.pod.metadata.name, item.action) for item in left.pods]


def test_a_clean_daemon_set_has_no_leftovers() -> None:
    left = found(daemon_set("RollingUpdate"), (pod("n1"),))
    assert not left.found
    assert leftover_warnings(left) == []


def test_on_delete_by_its_owners_choice_is_no_leftover() -> None:
    assert not found(daemon_set()).found
    assert not found(daemon_set(), recorded={"type": "OnDelete"}).found


def test_a_released_pod_goes_only_where_its_successor_is_ready() -> None:
    left = found(
        daemon_set(), (pod("n1"), pod("n2", ready=False)), (released("n1"), released("n2"))
    )
    assert actions(left) == [("old-n1", "delete"), ("old-n2", "take back")]


def test_a_released_pod_without_any_successor_is_taken_back() -> None:
    assert actions(found(daemon_set(), (), (released("n1"),))) == [("old-n1", "take back")]


def test_a_released_pod_of_a_node_that_is_gone_is_deleted() -> None:
    assert actions(found(daemon_set(), (), (released("n9"),))) == [("old-n9", "delete")]


def test_a_released_pod_that_goes_already_is_left_to_go() -> None:
    assert actions(found(daemon_set(), (), (released("n1", going=True),))) == [("old-n1", "leave")]


def test_of_two_released_pods_of_a_node_the_ready_one_is_taken_back() -> None:
    worse = msgspec.structs.replace(
        released("n1", ready=False), metadata=Meta(name="worse", labels={marks.RELEASED_FROM: UID})
    )
    left = found(daemon_set(), (), (worse, released("n1")))
    assert actions(left) == [("old-n1", "take back"), ("worse", "delete")]


def test_released_pods_of_another_daemon_set_are_not_ours() -> None:
    assert not found(daemon_set(), (), (released("n1", uid="other"),)).found


def test_released_pods_whose_daemon_set_is_gone_are_orphans() -> None:
    pods = [released("n1", uid="gone"), released("n2"), released("n3", uid="gone", going=True)]
    (left,) = orphans("logging", pods, {UID})
    assert actions(left) == [("old-n1", "delete"), ("old-n3", "leave")]
    assert left.run_id == "r1"


def test_the_strategy_comes_back_where_every_pod_is_current() -> None:
    left = found(daemon_set(annotations=MARKED), (pod("n1"), pod("n2")))
    assert left.strategy is not None
    assert (left.strategy.action, left.strategy.original) == ("restore", ROLLING)
    assert (left.run_id, left.rollout) == ("r1", "logging/agent-2")


@pytest.mark.parametrize("force", [False, True])
def test_the_strategy_stays_where_the_controller_would_replace_pods_at_once(*, force: bool) -> None:
    live = daemon_set(annotations=MARKED)
    left = found(live, (pod("n1"), pod("n2", hash_="old")), force=force)
    assert left.strategy is not None
    assert left.strategy.action == ("restore" if force else "refuse")
    assert force or "replace the pods of n2" in left.strategy.why


def test_the_strategy_stays_while_the_controller_has_not_observed_the_template() -> None:
    live = daemon_set(annotations=MARKED)
    meta = msgspec.structs.replace(live.metadata, generation=5)
    template = {"spec": {"containers": [{"name": "agent", "image": "agent:9"}]}}
    spec = msgspec.structs.replace(live.spec, template=template)
    unseen = msgspec.structs.replace(live, metadata=meta, spec=spec)
    left = found(unseen, (pod("n1"), pod("n2")))  # of the newest revision that there is
    assert left.strategy is not None
    assert left.strategy.action == "refuse"
    assert "replace the pods of n1, n2" in left.strategy.why


def test_a_pod_that_is_taken_back_would_be_replaced_too() -> None:
    live = daemon_set(annotations=MARKED)
    left = found(live, (pod("n1"), pod("n2", ready=False)), (released("n2"),))
    assert left.strategy is not None
    assert left.strategy.action == "refuse"


def test_marks_on_a_daemon_set_that_somebody_has_set_back_are_taken_away() -> None:
    left = found(daemon_set("RollingUpdate", MARKED), (pod("n1", hash_="old"),))
    assert left.strategy is not None
    assert (left.strategy.action, left.strategy.original) == ("unmark", None)


def test_the_record_knows_the_strategy_where_the_annotation_is_gone_or_spoilt() -> None:
    for spoilt in ({}, {**MARKED, marks.ORIGINAL_STRATEGY: "{"}):
        left = found(daemon_set(annotations=spoilt), (pod("n1"),), recorded=ROLLING)
        assert left.strategy is not None
        assert (left.strategy.action, left.strategy.original) == ("restore", ROLLING)


def test_a_strategy_that_nobody_knows_is_never_guessed() -> None:
    left = found(daemon_set(annotations={**MARKED, marks.ORIGINAL_STRATEGY: "{"}), (pod("n1"),))
    assert left.strategy is not None
    assert (left.strategy.action, left.strategy.original) == ("refuse", None)


def test_a_plan_names_the_nodes_the_run_and_the_command() -> None:
    left = found(daemon_set(annotations=MARKED), (pod("n1"),), (released("n1"),))
    pods, strategy = leftover_warnings(left)
    for warning in (pods, strategy):
        assert f"{LEFT_OVER} r1" in warning
        assert "'rollout cleanup --daemonset agent -n logging'" in warning
    assert "released pods on n1" in pods
    assert "OnDelete" in strategy
