"""The client against one small server per scenario; nothing sleeps, nothing is mocked."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.cluster.client import PatchKind
from rollout.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotRouted,
    NotServed,
    Rejected,
    Throttled,
    Unauthenticated,
    Unreachable,
)
from tests.cluster.world import (
    ONCE,
    PODS,
    Answer,
    Asked,
    Meta,
    Pod,
    Reply,
    Reset,
    pod,
    replies,
    serve,
    status,
    talking_to,
)

METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/logging/pods"
NOWHERE = Reply(b"404 page not found\n", 404)


# Reads


def test_an_object_is_decoded_into_the_fields_that_were_asked_for(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 7)))) as world, talking_to(world.url, tmp_path) as client:
        assert client.get(f"{PODS}/a", Pod) == Pod(Meta("a", "7"))
    assert world.asked[0].headers["authorization"] == "Bearer secret"


def test_a_missing_object_is_none_only_when_the_api_server_says_so(tmp_path: Path) -> None:
    gone = status(404, 'pods "a" not found', "NotFound")
    page = Reply(b"<html>404 Not Found</html>", 404)
    with serve(replies(gone, page)) as world, talking_to(world.url, tmp_path, patience=ONCE) as c:
        assert c.get_or_none(f"{PODS}/a", Pod) is None
        with pytest.raises(Unreachable, match="404 <html>"):
            c.get_or_none(f"{PODS}/a", Pod)


# API groups that are not served


def groups(*versions: str) -> Reply:
    """Return the list of groups of a server that serves these versions."""
    made = [
        {"name": v.partition("/")[0], "versions": [{"groupVersion": v, "version": "v"}]}
        for v in versions
    ]
    return Reply({"kind": "APIGroupList", "apiVersion": "v1", "groups": made})


def test_an_api_group_that_is_not_installed_is_told_at_once(tmp_path: Path) -> None:
    answers = replies(NOWHERE, groups("apps/v1", "metrics.k8s.io/v1"))
    with serve(answers) as world, talking_to(world.url, tmp_path) as client:
        with pytest.raises(NotServed, match=r"does not serve the API metrics\.k8s\.io/v1beta1$"):
            client.list(METRICS, Pod)
        assert [asked.path for asked in world.asked] == [METRICS, "/apis"]


@pytest.mark.parametrize(
    "second",
    [
        groups("apps/v1", "metrics.k8s.io/v1beta1"),  # it is served: somebody else said the 404
        groups(),
        NOWHERE,
        status(403, "forbidden", "Forbidden"),
        Reply(b"<html>hello</html>"),
        Reply({"kind": "PodList", "items": []}),
    ],
)
def test_a_404_that_the_list_of_groups_does_not_confirm_says_nothing(
    tmp_path: Path, second: Reply
) -> None:
    answers = replies(NOWHERE, second)
    with serve(answers) as world, talking_to(world.url, tmp_path, patience=ONCE) as client:
        with pytest.raises(NotRouted):
            client.get_or_none(f"{METRICS}/a", Pod)
        assert len(world.asked) == 2


def test_nothing_of_the_core_is_missing_on_the_word_of_a_proxy(tmp_path: Path) -> None:
    answers = replies(NOWHERE)
    with serve(answers) as world, talking_to(world.url, tmp_path, patience=ONCE) as client:
        with pytest.raises(NotRouted):
            client.get_or_none(f"{PODS}/a", Pod)
        assert len(world.asked) == 1


# Errors by what the caller can do


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (status(400, "unable to parse requirement", "BadRequest"), Rejected, "unable to parse"),
        (status(401, "Unauthorized", "Unauthorized"), Unauthenticated, "log in again"),
        (
            status(403, 'pods is forbidden: User "dev" cannot list resource "pods"', "Forbidden"),
            Forbidden,
            'User "dev" cannot list resource "pods".*ask for this permission',
        ),
        (Reply(b"<html>no</html>", 403), Forbidden, "<html>no</html>"),
        (status(404, 'pods "a" not found', "NotFound"), NotFound, 'pods "a" not found'),
        (Reply(b"404 page not found\n", 404), NotRouted, "404 page not found"),
        (status(409, "object has been modified", "Conflict"), Conflict, "modified"),
        (status(410, "too old", "Expired"), Gone, "too old"),
        (
            status(422, "is invalid", "Invalid", causes=[{"message": "may not be 0"}]),
            Rejected,
            "is invalid: may not be 0",
        ),
        (status(429, "slow down", "TooManyRequests"), Throttled, "slow down"),
        (status(500, "etcd is ill", "InternalError"), Unreachable, "500 etcd is ill"),
        (Reply(b"", 502), Unreachable, "502"),
        (status(503, "no leader", "ServiceUnavailable"), Unreachable, "no leader"),
        (status(504, "timed out", "Timeout"), Unreachable, "timed out"),
        (Reply(b"x" * 5000, 520), Unreachable, r"520 x+\.\.\.$"),
        (Reset(), Unreachable, "connection"),
    ],
)
def test_a_refused_read_says_what_can_be_done(
    tmp_path: Path, answer: Answer, kind: type[ClusterError], words: str
) -> None:
    with serve(replies(answer)) as world, talking_to(world.url, tmp_path, patience=ONCE) as c:
        with pytest.raises(ClusterError, match=words) as caught:
            c.get(f"{PODS}/a", Pod)
        assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


# Writes


def test_every_delete_names_the_uid_that_it_means(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 1)))) as world, talking_to(world.url, tmp_path) as client:
        client.delete(f"{PODS}/a", uid="u1", propagation="Background")
    assert world.asked[0].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u1"},
        "propagationPolicy": "Background",
    }


@pytest.mark.parametrize("kind", PatchKind)
def test_a_patch_goes_out_as_what_it_is(tmp_path: Path, kind: PatchKind) -> None:
    body = {"metadata": {"labels": {"a": None}}}
    with serve(replies(Reply(pod("a", 2)))) as world, talking_to(world.url, tmp_path) as client:
        client.patch(f"{PODS}/a", body, kind, Pod, dry_run=True)
    asked = world.asked[0]
    assert asked.headers["content-type"] == kind.value
    assert asked.body == body
    assert asked.query["dryRun"] == "All"
    assert asked.query["fieldManager"] == "rollout"


def test_create_and_replace_return_what_the_server_stored(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 3), 201))) as world, talking_to(world.url, tmp_path) as c:
        assert c.create(PODS, pod("a", 0), Pod).metadata.resource_version == "3"
        assert c.replace(f"{PODS}/a", pod("a", 3), Pod).metadata.name == "a"
    assert [asked.method for asked in world.asked] == ["POST", "PUT"]


# Questions about ourselves


def test_a_permission_is_asked_for_without_using_it(tmp_path: Path) -> None:
    def scenario(asked: Asked) -> Reply:
        attributes = asked.body["spec"]["resourceAttributes"]
        return Reply({"status": {"allowed": attributes["verb"] == "get"}}, 201)

    with serve(scenario) as world, talking_to(world.url, tmp_path) as client:
        assert client.review_access("get", "", "pods", namespace="default")
        assert not client.review_access("create", "", "pods", subresource="eviction")
    assert world.asked[0].body["spec"]["resourceAttributes"] == {
        "verb": "get",
        "resource": "pods",
        "namespace": "default",
    }


def test_the_version_is_read_even_where_a_provider_decorates_it(tmp_path: Path) -> None:
    said = {"major": "1", "minor": "36+", "gitVersion": "v1.36.0-gke.1", "platform": "linux"}
    with serve(replies(Reply(said))) as world, talking_to(world.url, tmp_path) as client:
        assert client.server_version() == (1, 36, "v1.36.0-gke.1")


def test_the_difference_of_clocks_is_known_from_answers(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 1)))) as world, talking_to(world.url, tmp_path) as client:
        assert client.clock_skew_s is None
        client.get(f"{PODS}/a", Pod)
        skew = client.clock_skew_s
    assert skew is not None
    assert abs(skew) < 5.0
