"""The client against one small server per scenario; nothing sleeps, nothing is mocked."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rollout.cluster.answers import DisruptionBlocked
from rollout.cluster.client import PatchKind, connect
from rollout.cluster.limit import Rate, WriteLimiter
from rollout.cluster.retry import Patience
from rollout.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotRouted,
    NotServed,
    Rejected,
    RolloutError,
    Throttled,
    UnknownOutcome,
    Unreachable,
    Withheld,
)
from tests.cluster.world import (
    Answer,
    Asked,
    Reply,
    Reset,
    Scenario,
    Streamed,
    pod,
    pod_list,
    serve,
    status,
    talking_to,
    write_kubeconfig,
)

PODS = "/api/v1/namespaces/default/pods"
ONCE = Patience(total_s=0.0, first_contact_s=0.0)


class Meta(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str


class Pod(msgspec.Struct):
    metadata: Meta


def replies(*answers: Answer) -> Scenario:
    """Give these answers one after the other, the last one for ever."""
    left = list(answers)

    def scenario(_: Asked) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return scenario


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


# API groups that are not served

METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/logging/pods"
NOWHERE = Reply(b"404 page not found\n", 404)


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
        (status(401, "Unauthorized", "Unauthorized"), Forbidden, "log in again"),
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


@pytest.mark.parametrize(
    "answer",
    [
        status(500, "etcdserver: request timed out", "InternalError"),
        Reply(b"bad gateway", 502),
        status(503, "no leader", "ServiceUnavailable"),
        status(504, "timed out", "Timeout"),
        Reset(),
        Reply(b"{", 200),
        Reply(b"<html>not found</html>", 404),
        Reply(pod("a", 1), missing=5),
        Reply(b"", 307, {"Location": "/elsewhere"}),
    ],
)
def test_a_write_without_a_clear_answer_is_of_unknown_outcome_and_never_repeated(
    tmp_path: Path, answer: Answer
) -> None:
    with serve(replies(answer)) as world, talking_to(world.url, tmp_path) as client:
        with pytest.raises(UnknownOutcome, match="not known"):
            client.delete(f"{PODS}/a", uid="u1")
        with pytest.raises(UnknownOutcome):
            client.patch(f"{PODS}/a", {"metadata": {}}, PatchKind.MERGE, Pod)
        assert len(world.asked) == 2


def test_a_dry_run_is_asked_again_as_it_changes_nothing(tmp_path: Path) -> None:
    with (
        serve(replies(Reset(), Reply(b"bad gateway", 502), Reply(pod("a", 1)))) as world,
        talking_to(world.url, tmp_path) as client,
    ):
        patched = client.patch(f"{PODS}/a", {}, PatchKind.MERGE, Pod, dry_run=True)
    assert patched.metadata.name == "a"
    assert len(world.asked) == 3


def test_a_write_to_a_silent_server_is_of_unknown_outcome(tmp_path: Path) -> None:
    def silent(_: Asked) -> Reply:
        world.released.wait()
        return Reply()

    with serve(silent) as world, talking_to(world.url, tmp_path, read_timeout_s=0.05) as client:
        with pytest.raises(UnknownOutcome, match="silent"):
            client.delete(f"{PODS}/a", uid="u1")
        with pytest.raises(Unreachable, match="silent"):
            client.urgent(0.05).get(f"{PODS}/a", Pod)


def test_a_write_that_could_not_be_sent_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with talking_to(url, tmp_path) as client:
            with pytest.raises(Unreachable, match="refused") as caught:
                client.delete(f"{PODS}/a", uid="u1")
            assert url in str(caught.value)


def test_an_unknown_host_is_unreachable(tmp_path: Path) -> None:
    with (
        talking_to("http://no-such-host.invalid", tmp_path, patience=ONCE) as client,
        pytest.raises(Unreachable, match="host name cannot be resolved"),
    ):
        client.get(f"{PODS}/a", Pod)


def test_tls_to_a_server_without_it_is_said_at_once(tmp_path: Path) -> None:
    with serve(replies(Reply())) as world:
        url = world.url.replace("http", "https")
        with talking_to(url, tmp_path) as client:
            with pytest.raises(ClusterError, match="does not speak TLS") as caught:
                client.get(f"{PODS}/a", Pod)
            assert type(caught.value) is ClusterError


# Retries


def test_a_read_is_repeated_until_it_succeeds(tmp_path: Path) -> None:
    ill, ok = status(503, "no leader"), Reply(pod("a", 1))
    sleeps: list[float] = []
    with (
        serve(replies(ill, Reset(), ill, ok)) as world,
        talking_to(world.url, tmp_path, sleeps=sleeps) as client,
    ):
        client.get(f"{PODS}/a", Pod)
    assert len(sleeps) == 3
    assert all(s <= limit for s, limit in zip(sleeps, (0.5, 1.0, 2.0), strict=True))


def test_the_servers_own_delay_is_respected(tmp_path: Path) -> None:
    busy = Reply(b"", 429, {"Retry-After": "7"})
    sleeps: list[float] = []
    with (
        serve(replies(busy, Reply(pod("a", 1)))) as world,
        talking_to(world.url, tmp_path, sleeps=sleeps) as client,
    ):
        client.get(f"{PODS}/a", Pod)
    assert sleeps == [7.0]


def test_a_delay_beyond_our_patience_ends_the_attempts(tmp_path: Path) -> None:
    busy = Reply(b"", 503, {"Retry-After": "3600"})
    with serve(replies(busy)) as world, talking_to(world.url, tmp_path) as client:
        with pytest.raises(Unreachable) as caught:
            client.get(f"{PODS}/a", Pod)
        assert caught.value.retry_after == 3600.0
        assert len(world.asked) == 1


def test_patience_is_bounded_in_total(tmp_path: Path) -> None:
    sleeps: list[float] = []
    with (
        serve(replies(status(500, "ill"))) as world,
        talking_to(world.url, tmp_path, patience=Patience(total_s=20.0), sleeps=sleeps) as client,
        pytest.raises(Unreachable),
    ):
        client.get(f"{PODS}/a", Pod)
    assert 0 < sum(sleeps) < 20.0


def test_a_server_that_never_answered_is_given_up_sooner(tmp_path: Path) -> None:
    sleeps: list[float] = []
    patience = Patience(total_s=1000.0, first_contact_s=2.0)
    with (
        talking_to("http://127.0.0.1:1", tmp_path, patience=patience, sleeps=sleeps) as client,
        pytest.raises(Unreachable, match=r"GET http://127\.0\.0\.1:1/version: connection refused"),
    ):
        client.server_version()
    assert sum(sleeps) < 2.0


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422])
def test_a_clear_no_is_not_asked_again(tmp_path: Path, code: int) -> None:
    with serve(replies(status(code, "no"))) as world, talking_to(world.url, tmp_path) as client:
        with pytest.raises(ClusterError):
            client.get(f"{PODS}/a", Pod)
        assert len(world.asked) == 1


def test_a_throttled_write_is_repeated_because_it_was_not_done(tmp_path: Path) -> None:
    busy = Reply(b"", 429, {"Retry-After": "2"})
    sleeps: list[float] = []
    with (
        serve(replies(busy, Reply(pod("a", 1)))) as world,
        talking_to(world.url, tmp_path, sleeps=sleeps) as client,
    ):
        client.delete(f"{PODS}/a", uid="u1")
    assert sleeps == [2.0]
    assert world.count("DELETE") == 2


def test_closing_ends_the_waiting(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with serve(replies(Reply(b"", 429, {"Retry-After": "20"}))) as world:
        write_kubeconfig(path, world.url)
        client = connect(path)
        client.close()
        with pytest.raises(Throttled):
            client.get(f"{PODS}/a", Pod)


def test_nothing_is_written_after_closing(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 1)))) as world:
        write_kubeconfig(tmp_path / "kubeconfig", world.url)
        client = connect(tmp_path / "kubeconfig")
        client.close()
        with pytest.raises(ClusterError, match="stopped before the next write"):
            client.delete(f"{PODS}/a", uid="u1")
        assert not world.asked


# Credentials


def test_a_401_renews_the_credentials_once_and_repeats(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")

    def scenario(asked: Asked) -> Reply:
        if asked.headers["authorization"] == "Bearer new":
            return Reply(pod("a", 1))
        token.write_text("new\n")
        return status(401, "Unauthorized", "Unauthorized")

    with (
        serve(scenario) as world,
        talking_to(world.url, tmp_path, user={"tokenFile": str(token)}) as client,
    ):
        client.get(f"{PODS}/a", Pod)
        client.delete(f"{PODS}/a", uid="u1")
    sent = [asked.headers["authorization"] for asked in world.asked]
    assert sent == ["Bearer old", "Bearer new", "Bearer new"]


def test_a_second_401_is_an_answer(tmp_path: Path) -> None:
    refusal = status(401, "Unauthorized", "Unauthorized")
    with serve(replies(refusal)) as world, talking_to(world.url, tmp_path) as client:
        with pytest.raises(Forbidden, match="does not accept the credentials"):
            client.delete(f"{PODS}/a", uid="u1")
        assert len(world.asked) == 2


# Writes


def test_every_delete_names_the_uid_that_it_means(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 1)))) as world, talking_to(world.url, tmp_path) as client:
        client.delete(f"{PODS}/a", uid="u1", grace_period_seconds=0, dry_run=True)
    assert world.asked[0].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u1"},
        "gracePeriodSeconds": 0,
        "dryRun": ["All"],
    }


@pytest.mark.parametrize("kind", PatchKind)
def test_a_patch_goes_out_as_what_it_is(tmp_path: Path, kind: PatchKind) -> None:
    body = [{"op": "test"}] if kind is PatchKind.JSON else {"metadata": {"labels": {"a": None}}}
    with serve(replies(Reply(pod("a", 2)))) as world, talking_to(world.url, tmp_path) as client:
        client.patch(f"{PODS}/a", body, kind, Pod, dry_run=True, force=kind is PatchKind.APPLY)
    asked = world.asked[0]
    assert asked.headers["content-type"] == kind.value
    assert asked.body == body
    assert asked.query["dryRun"] == "All"
    assert asked.query["fieldManager"] == "rollout"
    assert ("force" in asked.query) == (kind is PatchKind.APPLY)


def test_create_and_replace_return_what_the_server_stored(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 3), 201))) as world, talking_to(world.url, tmp_path) as c:
        assert c.create(PODS, pod("a", 0), Pod).metadata.resource_version == "3"
        assert c.replace(f"{PODS}/a", pod("a", 3), Pod).metadata.name == "a"
    assert [asked.method for asked in world.asked] == ["POST", "PUT"]


def test_faults_04_an_eviction_that_a_budget_forbids_is_said_and_not_repeated(
    tmp_path: Path,
) -> None:
    causes = [{"reason": "DisruptionBudget", "message": "The disruption budget agent needs 4"}]
    blocked = status(429, "Cannot evict pod.", "TooManyRequests", causes=causes)
    limiter = WriteLimiter(Rate(50.0, 10))
    with (
        serve(replies(blocked)) as world,
        talking_to(world.url, tmp_path, limiter=limiter) as client,
    ):
        with pytest.raises(DisruptionBlocked, match="budget agent needs 4"):
            client.evict("default", "a", uid="u1")
        assert len(world.asked) == 1
    assert limiter.per_second == 50.0, "a budget is no overload"
    assert world.asked[0].path == f"{PODS}/a/eviction"
    assert world.asked[0].body["deleteOptions"]["preconditions"] == {"uid": "u1"}


def test_faults_05_an_eviction_with_two_budgets_is_refused_for_good(tmp_path: Path) -> None:
    message = "This pod has more than one PodDisruptionBudget, which the eviction subresource..."
    with (
        serve(replies(status(500, message, "InternalError"))) as world,
        talking_to(world.url, tmp_path) as client,
        pytest.raises(Rejected, match="more than one PodDisruptionBudget"),
    ):
        client.evict("default", "a", uid="u1")


def test_writes_keep_to_the_rate_and_slow_down_when_refused(tmp_path: Path) -> None:
    ticks: Iterator[float] = iter([0.0] * 100)
    limiter = WriteLimiter(Rate(10.0, 2), clock=lambda: next(ticks))
    sleeps: list[float] = []
    ok = Reply(pod("a", 1))
    with (
        serve(replies(ok, ok, ok, Reply(b"", 429), ok)) as world,
        talking_to(world.url, tmp_path, limiter=limiter, sleeps=sleeps) as client,
    ):
        for _ in range(3):
            client.delete(f"{PODS}/a", uid="u1")
        assert sleeps == [pytest.approx(0.1)]
        client.urgent(1.0).delete(f"{PODS}/a", uid="u1")
        assert limiter.per_second == 10.0, "an urgent client stands outside the limit"
    assert len(world.asked) == 5


def test_a_429_halves_the_rate_of_later_writes(tmp_path: Path) -> None:
    limiter = WriteLimiter(Rate(10.0, 5))
    with (
        serve(replies(Reply(b"", 429), Reply(pod("a", 1)))) as world,
        talking_to(world.url, tmp_path, limiter=limiter) as client,
    ):
        client.delete(f"{PODS}/a", uid="u1")
    assert limiter.per_second == pytest.approx(6.0)


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


# Nothing leaks


@pytest.mark.parametrize(
    "answer",
    [Reset(), Reply(b"{"), Reply(b"", 500), Reply(b"x", missing=9), Streamed([b"{"], cut=True)],
)
def test_no_library_error_leaves_the_client(tmp_path: Path, answer: Answer) -> None:
    with serve(replies(answer)) as world, talking_to(world.url, tmp_path, patience=ONCE) as c:
        calls = (
            lambda: c.get(f"{PODS}/a", Pod),
            lambda: c.list(PODS, Pod),
            lambda: c.create(PODS, {}, Pod),
            lambda: c.patch(PODS, {}, PatchKind.MERGE, Pod),
            lambda: c.replace(PODS, {}, Pod),
            lambda: c.delete(f"{PODS}/a", uid="u"),
            lambda: c.evict("default", "a", uid="u"),
            lambda: c.review_access("get", "", "pods"),
            c.server_version,
        )
        for call in calls:
            with pytest.raises(RolloutError):
                call()


# The guard


def test_a_guarded_write_is_asked_about_before_each_attempt(tmp_path: Path) -> None:
    asked: list[int] = []

    def guard() -> str:
        asked.append(len(world.asked))
        return "" if len(asked) < 3 else "the lock is lost"

    busy = status(429, "later", "TooManyRequests")
    with serve(replies(busy)) as world, talking_to(world.url, tmp_path) as client:
        guarded = client.guarded(guard)
        with pytest.raises(Withheld, match=r"nothing was sent to .*: the lock is lost"):
            guarded.delete(f"{PODS}/a", uid="u1")
    assert asked == [0, 1, 2], "once before each sending, and the third was not sent"
    assert len(world.asked) == 2


def test_a_guard_is_asked_behind_the_wait_for_the_rate_limit(tmp_path: Path) -> None:
    now = [0.0]
    limiter = WriteLimiter(Rate(1.0, 1), clock=lambda: now[0])
    with (
        serve(replies(Reply(pod("a", 1)))) as world,
        talking_to(world.url, tmp_path, limiter=limiter) as client,
    ):
        guarded = client.guarded(lambda: "too late" if client_slept else "")
        client_slept: list[float] = []
        guarded._sender._given_sleep = client_slept.append
        guarded.delete(f"{PODS}/a", uid="u1")
        with pytest.raises(Withheld, match="too late"):
            guarded.delete(f"{PODS}/b", uid="u2")
    assert client_slept == [1.0]
    assert world.count("DELETE") == 1


def test_a_guard_is_asked_again_behind_a_renewal_of_the_credentials(tmp_path: Path) -> None:
    answers = iter(["", "the lease ran out while the plugin ran"])
    with (
        serve(replies(status(401, "Unauthorized", "Unauthorized"))) as world,
        talking_to(world.url, tmp_path) as client,
        pytest.raises(Withheld, match="plugin"),
    ):
        client.guarded(lambda: next(answers)).delete(f"{PODS}/a", uid="u1")
    assert world.count("DELETE") == 1


def test_reads_and_urgent_writes_ask_no_guard(tmp_path: Path) -> None:
    with serve(replies(Reply(pod("a", 1)))) as world, talking_to(world.url, tmp_path) as client:
        guarded = client.guarded(lambda: "nothing may be written")
        guarded.get(f"{PODS}/a", Pod)
        guarded.delete(f"{PODS}/a", uid="u1", dry_run=True)
        guarded.urgent(1.0).delete(f"{PODS}/a", uid="u1")
    assert len(world.asked) == 3


def test_an_urgent_call_gives_a_silent_server_little_time(tmp_path: Path) -> None:
    def silent(_: Asked) -> Reply:
        world.released.wait()
        return Reply()

    with serve(silent) as world, talking_to(world.url, tmp_path, read_timeout_s=60.0) as client:
        began = time.monotonic()
        with pytest.raises(UnknownOutcome, match="silent"):
            client.urgent(0.1).delete(f"{PODS}/a", uid="u1")
        assert time.monotonic() - began < 10.0
