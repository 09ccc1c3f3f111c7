"""What the libraries underneath do, as far as we rely on it."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import yaml
from kubernetes.client import ApiClient

from rollout.cluster.answers import Effect
from rollout.cluster.client import connect
from rollout.cluster.connect import Target, load_target
from rollout.cluster.retry import Patience
from rollout.cluster.transport import Request, Transport
from rollout.errors import ClusterError, Forbidden, Unreachable
from tests.cluster.world import (
    CERTIFICATE,
    Answer,
    Asked,
    Raw,
    Reply,
    Reset,
    Streamed,
    bookmark,
    pod,
    serve,
    status,
    talking_to,
    write_kubeconfig,
)

PATH = "/api/v1/namespaces/default/pods/a"


def test_the_low_level_calls_of_the_kubernetes_client_are_as_we_use_them() -> None:
    """kubernetes 37 changed them last; a new major version has to be looked at."""
    assert list(inspect.signature(ApiClient.param_serialize).parameters) == [
        "self",
        "method",
        "resource_path",
        "path_params",
        "query_params",
        "header_params",
        "body",
        "post_params",
        "files",
        "auth_settings",
        "collection_formats",
        "_host",
        "_request_auth",
    ]
    assert list(inspect.signature(ApiClient.call_api).parameters) == [
        "self",
        "method",
        "url",
        "header_params",
        "body",
        "post_params",
        "_request_timeout",
    ]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
def test_the_libraries_never_repeat_a_request_themselves(tmp_path: Path, method: str) -> None:
    path = tmp_path / "config"
    with serve(lambda _: Reply(b"", 503, {"Retry-After": "1"})) as world:
        write_kubeconfig(path, world.url)
        transport = Transport(partial(load_target, path))
        with pytest.raises(ClusterError):
            transport.send(Request(method, "/x", {}, Effect.READ))
        transport.close()
    assert len(world.asked) == 1


def test_requests_carry_our_name(tmp_path: Path) -> None:
    with serve(lambda _: Reply(pod("a", 1))) as world, talking_to(world.url, tmp_path) as client:
        client.get(PATH, dict)
    assert world.asked[0].headers["user-agent"].startswith("rollout/")
    assert world.asked[0].headers["accept"] == "application/json"


def test_compression_can_be_switched_off_in_the_kubeconfig(tmp_path: Path) -> None:
    answer = Reply({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []})
    off = {"disable-compression": True}
    with (
        serve(lambda _: answer) as world,
        talking_to(world.url, tmp_path, cluster=off) as client,
    ):
        client.list("/api/v1/pods", dict)
    assert world.asked[0].headers["accept-encoding"] == "identity"


def test_many_threads_share_one_client(tmp_path: Path) -> None:
    lock = threading.Lock()
    count = 0

    def scenario(_: Asked) -> Reply:
        nonlocal count
        with lock:
            count += 1
            ill = count % 5 == 0
        return status(503, "ill") if ill else Reply(pod("a", 1))

    failures: list[BaseException] = []
    with serve(scenario) as world, talking_to(world.url, tmp_path) as client:

        def work() -> None:
            try:
                for _ in range(20):
                    client.get(PATH, dict)
            except BaseException as error:  # noqa: BLE001 - shown by the assertion
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


def test_threads_that_meet_the_same_401_renew_once(tmp_path: Path) -> None:
    path = tmp_path / "config"
    together = threading.Barrier(8)
    loads = 0

    def scenario(asked: Asked) -> Reply:
        if asked.headers["authorization"] == "Bearer new":
            return Reply(pod("a", 1))
        together.wait(60.0)
        return status(401, "Unauthorized")

    with serve(scenario) as world:
        write_kubeconfig(path, world.url, user={"token": "old"})

        def load(context: str | None) -> Target:
            nonlocal loads
            loads += 1
            target = load_target(path, context)
            write_kubeconfig(path, world.url, user={"token": "new"})
            return target

        transport = Transport(load)
        threads = [
            threading.Thread(target=transport.send, args=[Request("GET", PATH, {}, Effect.READ)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        transport.close()
    assert loads == 2
    assert len(world.asked) == 16


def test_credentials_that_cannot_be_renewed_are_said(tmp_path: Path) -> None:
    with serve(lambda _: status(401, "Unauthorized")) as world:
        path = tmp_path / "config"
        write_kubeconfig(path, world.url)
        client = connect(path)
        write_kubeconfig(path, world.url, context="other")
        with pytest.raises(Forbidden, match="cannot be renewed: context 'test' is not in"):
            client.get(PATH, dict)
        client.close()


def test_a_renewal_that_breaks_is_a_matter_of_credentials(tmp_path: Path) -> None:
    path = tmp_path / "config"
    write_kubeconfig(path, "http://127.0.0.1:1")
    target = load_target(path, None)

    def renew(_: object) -> None:
        raise FileNotFoundError("the token is gone")

    target.configuration.refresh_api_key_hook = renew
    transport = Transport(lambda _: target)
    with pytest.raises(Forbidden, match="cannot be renewed: the token is gone"):
        transport.send(Request("GET", PATH, {}, Effect.READ))
    transport.close()


def test_a_switch_of_the_current_context_does_not_move_us_to_another_cluster(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config"
    with (
        serve(lambda _: status(401, "Unauthorized")) as ours,
        serve(lambda _: Reply(pod("a", 1))) as other,
    ):
        write_kubeconfig(path, ours.url)
        client = connect(path)
        document = yaml.safe_load(path.read_text())
        write_kubeconfig(path, other.url, context="other")
        switched = yaml.safe_load(path.read_text())
        document["clusters"][0]["name"] = document["contexts"][0]["context"]["cluster"] = "ours"
        switched["contexts"] += document["contexts"]
        switched["clusters"] += document["clusters"]
        path.write_text(yaml.safe_dump(switched))
        with pytest.raises(Forbidden, match="does not accept"):
            client.get(PATH, dict)
        write_kubeconfig(path, other.url)
        with pytest.raises(Forbidden, match=f"was {ours.url} and is {other.url} now"):
            client.get(PATH, dict)
        client.close()
    assert len(ours.asked) == 3
    assert not other.asked


@pytest.mark.parametrize("token", ["two\nlines", "snow\u2603"])
def test_a_token_that_cannot_be_sent_is_not_shown(tmp_path: Path, token: str) -> None:
    with (
        serve(lambda _: Reply(pod("a", 1))) as world,
        talking_to(world.url, tmp_path, user={"token": token}) as client,
    ):
        with pytest.raises(ClusterError, match="check the token") as caught:
            client.get(PATH, dict)
        assert token not in str(caught.value)
        assert not world.asked


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Raw(b""), "closed without an answer"),
        (Raw(b"SSH-2.0-OpenSSH\r\n"), "the answer is not HTTP"),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "the answer was cut short"),
        (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "cut short"),
        (Reply(b"flat", headers={"Content-Encoding": "gzip"}), "cannot be decompressed"),
        (Reset(), "connection reset by peer"),
    ],
)
def test_a_broken_line_is_described_in_plain_words(
    tmp_path: Path, answer: Answer, words: str
) -> None:
    with (
        serve(lambda _: answer) as world,
        talking_to(world.url, tmp_path, patience=Patience(0.0, 0.0)) as client,
        pytest.raises(Unreachable, match=f"^GET {world.url}{PATH}: .*{words}$"),
    ):
        client.get(PATH, dict)


# TLS


def test_a_certificate_that_the_kubeconfig_trusts_is_accepted(tmp_path: Path) -> None:
    trusting = {"certificate-authority": str(CERTIFICATE)}
    with (
        serve(lambda _: Reply(pod("a", 1)), tls=True) as world,
        talking_to(world.url, tmp_path, cluster=trusting) as client,
    ):
        client.get(PATH, dict)


def test_a_certificate_that_nobody_trusts_is_said_at_once(tmp_path: Path) -> None:
    sleeps: list[float] = []
    with (
        serve(lambda _: Reply(pod("a", 1)), tls=True) as world,
        talking_to(world.url, tmp_path, sleeps=sleeps) as client,
        pytest.raises(ClusterError, match="certificate is not trusted"),
    ):
        client.get(PATH, dict)
    assert not sleeps


def test_verification_can_be_switched_off_without_a_warning_per_request(tmp_path: Path) -> None:
    careless = {"insecure-skip-tls-verify": True}
    with (
        serve(lambda _: Reply(pod("a", 1)), tls=True) as world,
        talking_to(world.url, tmp_path, cluster=careless) as client,
    ):
        client.get(PATH, dict)


@pytest.mark.parametrize("tls", [False, True])
def test_a_stream_is_interrupted_from_another_thread(tmp_path: Path, *, tls: bool) -> None:
    trusting = {"certificate-authority": str(CERTIFICATE)}

    def once() -> Iterator[bytes]:
        yield bookmark(1)
        world.released.wait()

    with (
        serve(lambda _: Streamed(once()), tls=tls) as world,
        talking_to(world.url, tmp_path, cluster=trusting) as client,
        client.watch("/api/v1/pods", "1", timeout_s=60, silence_s=30.0) as stream,
    ):
        lines = stream.lines()
        assert msgspec.json.decode(next(lines))["type"] == "BOOKMARK"
        waker = threading.Timer(0.05, stream.interrupt)
        waker.start()
        with suppress(Unreachable):  # a broken connection is an end as well
            assert next(lines, None) is None
        waker.join()
        stream.interrupt()  # again, when it has ended: nothing happens


def test_a_refused_watch_says_why(tmp_path: Path) -> None:
    with (
        serve(lambda _: status(403, "no watch for you", "Forbidden")) as world,
        talking_to(world.url, tmp_path) as client,
        pytest.raises(Forbidden, match="no watch for you"),
    ):
        client.watch("/api/v1/pods", "1", timeout_s=60, silence_s=5.0)


def test_importing_the_program_loads_none_of_the_heavy_libraries() -> None:
    code = "import rollout, rollout.errors, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"kubernetes", "urllib3", "tenacity", "yaml"} & set(run.stdout.split())
