"""How requests are sent, against one small server per scenario: patience, rate and guard."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.cluster.client import PatchKind, connect
from rollout.cluster.limit import Rate, WriteLimiter
from rollout.cluster.retry import Patience
from rollout.errors import (
    ClusterError,
    Forbidden,
    RolloutError,
    Throttled,
    UnknownOutcome,
    Unreachable,
    Withheld,
)
from tests.cluster.world import (
    ONCE,
    PODS,
    Answer,
    Asked,
    Pod,
    Reply,
    Reset,
    Streamed,
    pod,
    replies,
    serve,
    status,
    talking_to,
    write_kubeconfig,
)


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


# The rate


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


def test_a_client_that_is_guarded_twice_asks_both(tmp_path: Path) -> None:
    """The lock, and then whether a decision is too old: neither is in place of the other."""
    why = {"lock": "", "age": ""}
    with serve(replies(Reply(pod("a", 1)))) as world, talking_to(world.url, tmp_path) as client:
        guarded = client.guarded(lambda: why["lock"]).guarded(lambda: why["age"])
        for name in ("lock", "age"):
            why[name] = f"the {name} is no good"
            with pytest.raises(Withheld, match=f"the {name} is no good"):
                guarded.delete(f"{PODS}/a", uid="u1")
            why[name] = ""
        assert not world.asked


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
        guarded.patch(f"{PODS}/a", {}, PatchKind.MERGE, Pod, dry_run=True)
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
