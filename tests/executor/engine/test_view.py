"""What one event, or the gap between two, says about a pod: flaps, zones, charges."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.executor.engine.view import PodView
from rollout.fleet.objects import Pod

NODES = {"n1": "a", "n2": "a", "n3": "b", "n4": ""}
T0 = 1_790_000_000.0


def view(min_ready_s: float = 0.0) -> PodView:
    return PodView("ds", NODES, min_ready_s, lambda _when, _node: None, NODES, surges=True)


def pod(
    version: int,
    node: str = "n1",
    *,
    ready: bool = True,
    since: str = "2026-09-21T00:00:00Z",
    restarts: int = 0,
    container: str = "containerd://1",
) -> Pod:
    raw: dict[str, Any] = {
        "metadata": {
            "name": f"p-{node}",
            "uid": f"uid-{node}",
            "resourceVersion": str(version),
            "ownerReferences": [
                {"kind": "DaemonSet", "name": "d", "uid": "ds", "controller": True}
            ],
        },
        "spec": {"nodeName": node},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}],
            "containerStatuses": [
                {"name": "c", "restartCount": restarts, "containerID": container}
            ],
        },
    }
    return msgspec.convert(raw, Pod)


@pytest.mark.parametrize(
    "after",
    [
        pod(2, restarts=1),
        pod(2, container="containerd://2"),
        pod(2, since="2026-09-21T00:05:00Z"),
    ],
    ids=["a restart", "another container", "another time of readiness"],
)
def test_faults_19_what_happened_between_two_views_starts_the_soak_afresh(after: Pod) -> None:
    seen = view()
    seen.see(pod(1), T0)
    before = seen.ready_since["uid-n1"]

    seen.see(after, T0 + 100.0)

    assert seen.flaps["uid-n1"] == 1
    assert seen.ready_since["uid-n1"] == T0 + 100.0 > before


def test_an_event_in_which_nothing_of_that_changed_is_no_flap() -> None:
    seen = view()
    seen.see(pod(1), T0)
    before = seen.ready_since["uid-n1"]

    seen.see(pod(2), T0 + 100.0)

    assert seen.flaps == {}
    assert seen.ready_since["uid-n1"] == before


def test_a_pod_that_was_never_ready_does_not_flap() -> None:
    seen = view()
    seen.see(pod(1, ready=False), T0)
    seen.see(pod(2, ready=False, restarts=3), T0 + 1.0)
    seen.see(pod(3, restarts=3), T0 + 2.0)

    assert seen.flaps == {}


def test_a_zone_is_broken_by_what_is_not_ours() -> None:
    seen = view()
    for number, node in enumerate(NODES, start=1):
        seen.see(pod(number, node), T0)
    assert seen.broken_zones == {}

    seen.see(pod(10, "n1", ready=False), T0 + 1)  # somebody else's doing
    seen.hold("n3")
    seen.see(pod(11, "n3", ready=False), T0 + 1)  # ours
    seen.see(pod(12, "n4", ready=False), T0 + 1)  # of no zone
    assert seen.broken_zones == {"a": {"n1"}}

    seen.release("n3", failed=True)
    assert seen.broken_zones == {"a": {"n1"}}
    seen.see(pod(20, "n1"), T0 + 2)
    assert seen.broken_zones == {}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["ready", "down", "gone", "hold", "release", "fail", "drop", "hand over", "end"]
        ),
        st.sampled_from(sorted(NODES)),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_books_of_a_view_agree_after_any_order_of_events(steps: list[tuple[str, str]]) -> None:
    seen = view()
    for number, (what, node) in enumerate(steps, start=1):
        now = T0 + number
        match what:
            case "ready" | "down":
                seen.see(pod(number, node, ready=what == "ready"), now)
            case "gone":
                seen.forget(f"uid-{node}", now)
            case "hold":
                seen.hold(node)
            case "release" | "fail":
                seen.release(node, failed=what == "fail")
            case "drop":  # its step is over with it
                seen.drop_node(node)
                seen.release(node, failed=False)
            case "hand over":
                seen.see_released(node, pod(number, node), now)
            case "end":
                seen.see_released(node, None, now)
        charged = seen.unavailable | seen.held | seen.doubled
        assert seen.used == charged & (seen.budget_nodes | seen.held)
        assert seen.doubled <= seen.released.keys()
        broken = {n for nodes in seen.broken_zones.values() for n in nodes}
        assert broken <= seen.unavailable - seen.held
        assert all(NODES[n] == zone for zone, nodes in seen.broken_zones.items() for n in nodes)


# What is believed of late news


def test_news_of_a_pod_from_before_it_left_does_not_bring_it_back() -> None:
    seen = view()
    seen.see(pod(5), T0)
    seen.forget("uid-n1", T0, "7")

    assert seen.see(pod(6), T0) is None
    assert not seen.on("n1")
    assert seen.see(pod(8), T0) == "n1"


def test_older_news_of_a_pod_changes_nothing() -> None:
    seen = view()
    seen.see(pod(5), T0)

    assert seen.see(pod(4, ready=False), T0) is None
    assert seen.pods["uid-n1"].ready


def test_a_pod_of_another_owner_is_not_seen() -> None:
    mine, others = view(), PodView("another", NODES, 0.0, lambda _when, _node: None, NODES)
    mine.see(pod(5), T0)
    others.see(pod(5), T0)

    assert "n1" not in mine.unavailable
    assert not others.pods
    assert "n1" in others.unavailable


def test_a_pod_is_available_after_min_ready_seconds_and_not_before() -> None:
    seen = view(min_ready_s=30.0)
    began = 1_790_000_000.0
    seen.see(pod(4, ready=False), began)
    seen.see(pod(5), began)

    assert not seen.is_available(seen.pods["uid-n1"], began + 29.0)
    assert seen.is_available(seen.pods["uid-n1"], began + 30.0)
