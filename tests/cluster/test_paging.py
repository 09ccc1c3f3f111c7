"""Lists against one small server per scenario: whole, and of one version, or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rollout.errors import (
    Unreachable,
)
from tests.cluster.world import (
    ONCE,
    PODS,
    Answer,
    Asked,
    Pod,
    Reply,
    Streamed,
    pod,
    pod_list,
    replies,
    serve,
    status,
    talking_to,
)


def test_a_list_comes_in_pages_of_one_version(tmp_path: Path) -> None:
    def scenario(asked: Asked) -> Reply:
        if "continue" not in asked.query:
            return Reply(pod_list(pod("a", 1), pod("b", 2), version=9, continue_="next"))
        return Reply(pod_list(pod("c", 3), version=9))

    with serve(scenario) as world, talking_to(world.url, tmp_path) as client:
        listing = client.list(PODS, Pod, page_size=2, label_selector="app=a,x notin (y)")
    assert [p.metadata.name for p in listing.items] == ["a", "b", "c"]
    assert listing.version == "9"
    assert [a.query for a in world.asked] == [
        {"labelSelector": "app=a,x notin (y)", "limit": "2"},
        {"labelSelector": "app=a,x notin (y)", "limit": "2", "continue": "next"},
    ]


def test_an_expired_continuation_starts_anew_and_at_last_asks_for_all_at_once(
    tmp_path: Path,
) -> None:
    def scenario(asked: Asked) -> Reply:
        if "continue" in asked.query:
            return status(410, "The provided continue parameter is too old", "Expired")
        if "limit" in asked.query:
            return Reply(pod_list(pod("a", 1), continue_="old"))
        return Reply(pod_list(pod("a", 1), pod("b", 2)))

    with serve(scenario) as world, talking_to(world.url, tmp_path) as client:
        assert len(client.list(PODS, Pod, page_size=1).items) == 2
    assert len(world.asked) == 5


def test_a_first_page_that_is_called_expired_is_asked_for_anew(tmp_path: Path) -> None:
    """A server that has just begun, or a proxy before it, answers so to what names no version."""
    expired = status(410, "The resourceVersion for the provided list is too old.", "Expired")
    whole = Reply(pod_list(pod("a", 1)))
    story = replies(expired, expired, expired, whole)
    with serve(story) as world, talking_to(world.url, tmp_path) as client:
        assert len(client.list(PODS, Pod, page_size=1).items) == 1
    assert ["limit" in a.query for a in world.asked] == [True] * 4


def test_a_list_that_is_called_expired_for_ever_is_an_error_in_the_end(tmp_path: Path) -> None:
    expired = status(410, "too old", "Expired")
    with (
        serve(replies(expired)) as world,
        talking_to(world.url, tmp_path, patience=ONCE) as client,
        pytest.raises(Unreachable, match="too old"),
    ):
        client.list(PODS, Pod)


def test_pages_of_different_versions_are_not_mixed(tmp_path: Path) -> None:
    first = Reply(pod_list(pod("old", 1), version=5, continue_="n"))
    mixed = Reply(pod_list(pod("x", 6), version=6))
    whole = Reply(pod_list(pod("new", 7), version=7))
    with serve(replies(first, mixed, whole)) as world, talking_to(world.url, tmp_path) as client:
        listing = client.list(PODS, Pod, page_size=1)
    assert (listing.version, [p.metadata.name for p in listing.items]) == ("7", ["new"])


@pytest.mark.parametrize(
    "answer",
    [
        Reply(b"{}"),
        Reply(b""),
        Reply(b"null"),
        Reply(b"<html>welcome</html>"),
        Reply({"kind": "PodList", "metadata": {"resourceVersion": "1"}}),
        Reply({"kind": "PodList", "metadata": {"resourceVersion": ""}, "items": []}),
        Reply({"kind": "PodList", "items": []}),
        Reply({"kind": "Status", "metadata": {"resourceVersion": "1"}, "items": []}),
        Reply({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [{"a": 1}]}),
        Reply(json.dumps(pod_list(pod("a", 1))).encode()[:-20]),
        Reply(pod_list(pod("a", 1)), missing=10),
        Streamed([json.dumps(pod_list(pod("a", 1))).encode()], cut=True),
        Reply(b"\xff\xfe not utf-8"),
        Reply(pod_list(), 302, {"Location": "/elsewhere"}),
    ],
)
def test_a_broken_answer_is_a_failed_read_and_never_an_empty_list(
    tmp_path: Path, answer: Answer
) -> None:
    with serve(replies(answer)) as world, talking_to(world.url, tmp_path, patience=ONCE) as c:
        with pytest.raises(Unreachable, match=r"GET http://127\.0\.0\.1:\d+/api/v1"):
            c.list(PODS, Pod)
        assert len(world.asked) == 1


def test_a_compressed_list_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(pod_list(pod("a", 1))).encode())
    answer = Reply(packed, headers={"Content-Encoding": "gzip"})
    with serve(replies(answer)) as world, talking_to(world.url, tmp_path) as client:
        assert len(client.list(PODS, Pod).items) == 1
    assert world.asked[0].headers["accept-encoding"] == "gzip"
