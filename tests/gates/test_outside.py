from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollout.gates.outside import LARGEST, Answer, Call, OutsideError, Trust, ask, read_trust
from rollout.gates.settings import Settings
from rollout.gates.targets import TargetRefused
from rollout.gatespec import SecretRef
from rollout.gatespec.outside import Tls
from tests.cluster.world import CERTIFICATE, Asked, Raw, Reply, Reset, Streamed, World, serve
from tests.gates.worlds import LOOPBACK, a_context

OWN_CA = Trust(CERTIFICATE.read_text())
LONG = 20.0  # more than any of these takes


def call(world: World, path: str = "/x?a=b", **changes: Any) -> Call:
    fields: dict[str, Any] = {"method": "GET", "timeout_s": LONG, "trust": OWN_CA, **changes}
    return Call(url=f"{world.url}{path}", **fields)


def complaint(world: World, **changes: Any) -> str:
    with pytest.raises(OutsideError) as caught:
        ask(call(world, **changes), LOOPBACK)
    return str(caught.value).removeprefix(f"127.0.0.1:{world.server_port}: ")


def test_an_answer_comes_over_tls_from_a_server_with_its_own_ca() -> None:
    reply = Reply({"ok": 1}, headers={"Content-Type": "application/json"})
    with serve(lambda _: reply, tls=True) as world:
        answer = ask(call(world, method="POST", body=b"[1]", headers={"X-A": "1"}), LOOPBACK)
    assert answer.status == 200
    assert answer.body.replace(b" ", b"") == b'{"ok":1}'
    (asked,) = world.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/x", {"a": "b"})
    assert asked.headers["x-a"] == "1"
    assert asked.headers["user-agent"].startswith("rollout/")
    assert asked.headers["host"] == f"127.0.0.1:{world.server_port}"


def test_no_credential_and_no_cookie_goes_along() -> None:
    with serve(lambda _: Reply({}), tls=True) as world:
        ask(call(world), LOOPBACK)
    assert {"authorization", "cookie", "proxy-authorization"}.isdisjoint(world.asked[0].headers)


def test_an_unknown_certificate_is_not_trusted() -> None:
    with serve(lambda _: Reply({}), tls=True) as world:
        assert "its certificate is not trusted" in complaint(world, trust=Trust())
    assert not world.asked


def test_a_certificate_for_another_name_is_not_trusted() -> None:
    other = Trust(OWN_CA.pem, server_name="prometheus.example.com")
    with serve(lambda _: Reply({}), tls=True) as world:
        assert "not trusted" in complaint(world, trust=other)
        named = Trust(OWN_CA.pem, server_name="localhost")
        assert ask(call(world, trust=named), LOOPBACK).status == 200


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with serve(lambda _: Reply(b"", 302, {"Location": "http://127.0.0.1:1/"}), tls=True) as world:
        assert ask(call(world), LOOPBACK).redirects
    assert len(world.asked) == 1


def test_an_answer_that_is_too_large_is_given_up_early() -> None:
    chunks = itertools.repeat(b"x" * 65536)
    with serve(lambda _: Streamed(chunks), tls=True) as world:
        assert complaint(world) == f"the answer is larger than {LARGEST // 1024} KiB"


def test_a_silent_server_costs_the_time_limit_and_no_more() -> None:
    def scenario(_: Asked) -> Reply:
        world.released.wait(LONG)
        return Reply({})

    with serve(scenario, tls=True) as world:
        began = time.monotonic()
        assert complaint(world, timeout_s=1.0) == "no whole answer within 1 s"
        assert time.monotonic() - began < LONG / 2


def test_a_silent_server_is_told_alike_when_the_socket_is_the_first_to_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late(threading.Timer):
        """As on a machine that is too busy to start it in time."""

        def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
            super().__init__(seconds + LONG, cut)

    monkeypatch.setattr(threading, "Timer", Late)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(OutsideError, match=r"no whole answer within 0.2 s"):
            ask(Call("GET", url, 0.2), LOOPBACK)


def test_a_dripping_server_costs_the_time_limit_and_no_more() -> None:
    def drip() -> Iterator[bytes]:
        while not world.released.wait(0.02):
            yield b"x"

    with serve(lambda _: Streamed(drip()), tls=True) as world:
        assert complaint(world, timeout_s=1.0) == "no whole answer within 1 s"


def test_an_answer_without_a_length_that_is_still_dripping_is_not_a_short_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n{}")
                stop.wait(LONG)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(OutsideError, match=r"no whole answer within 1 s"):
            ask(Call("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", 1.0), LOOPBACK)
        stop.set()
        thread.join()


def test_a_server_that_never_ends_its_headers_costs_the_time_limit_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def drip() -> None:
            peer, _ = listener.accept()
            with peer:
                while not stop.wait(0.02):
                    try:
                        peer.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(OutsideError, match="no whole answer within 1 s"):
            ask(Call("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", 1.0), LOOPBACK)
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Reply(b"short", missing=10), "the answer was cut short"),
        (Streamed([b"part"], cut=True), "the answer was cut short"),
        (Reset(), "the connection broke before the answer"),
        (Raw(b"SSH-2.0-hello\r\n"), "the answer is not HTTP"),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), None),
    ],
)
def test_a_lying_answer_is_never_a_short_one(answer: Any, message: str | None) -> None:
    with serve(lambda _: answer, tls=True) as world:
        if message is None:
            assert ask(call(world), LOOPBACK) == Answer(200, b"")
        else:
            assert complaint(world) == message


def test_nobody_at_the_address_and_no_such_name_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OutsideError, match=f"127.0.0.1:{port} cannot be reached: Connection"):
        ask(Call("GET", f"http://127.0.0.1:{port}/", LONG), LOOPBACK)
    nowhere = Settings(hosts=("nowhere.invalid",))
    with pytest.raises(OutsideError, match=r"nowhere.invalid cannot be resolved"):
        ask(Call("GET", "https://nowhere.invalid/", LONG), nowhere)


def test_a_name_is_resolved_once_and_the_checked_address_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", *rest, **named)

    with serve(lambda _: Reply({}), tls=True) as world:
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        url = f"https://localhost:{world.server_port}/"
        assert ask(Call("GET", url, LONG, trust=OWN_CA), LOOPBACK).status == 200
        assert asked == ["localhost", "127.0.0.1"]  # the second is the address itself
        evil = Settings(hosts=("evil.example",))
        with pytest.raises(TargetRefused, match=r"evil.example is 127.0.0.1, which is a private"):
            ask(Call("GET", "https://evil.example/", LONG, trust=OWN_CA), evil)


def test_a_refused_target_is_never_connected_to() -> None:
    refused = pytest.raises(TargetRefused, match=r"host 127.0.0.1 is not allowed")
    with serve(lambda _: Reply({})) as world, refused:
        ask(call(world), Settings())
    assert not world.asked


def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serve(lambda _: Reply({}), tls=True) as world:
        assert ask(call(world), LOOPBACK).status == 200


def test_trust_is_read_from_a_file_or_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUNDLE", CERTIFICATE.read_text())
    by_file = read_trust(Tls(ca_file=str(CERTIFICATE), server_name="n"), a_context())
    assert by_file == Trust(CERTIFICATE.read_text(), "n")
    from_environment = Tls(ca=SecretRef(env="BUNDLE"))
    assert (read_trust(from_environment, a_context()).pem or "").startswith("A throwaway key")
    with pytest.raises(OutsideError, match=r"tls.caFile /none cannot be read"):
        read_trust(Tls(ca_file="/none"), a_context())
    with serve(lambda _: Reply({}), tls=True) as world:
        assert "trust are not in PEM" in complaint(world, trust=Trust("nonsense"))
