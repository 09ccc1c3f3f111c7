"""The API over real sockets: keep-alive, streams, the real clients, and nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as kubernetes_client

from rollout.sim.api import Api
from rollout.sim.clock import RealClock
from rollout.sim.kubeconfigfile import kubeconfig
from rollout.sim.rbac import ADMIN
from rollout.sim.registry import Registry
from rollout.sim.requests import Answer, Request
from rollout.sim.server import Server
from rollout.sim.store import Store
from tests.sim.apiworld import CONFIG_MAP_PATH, DAEMONSET_PATH, daemonset

TIMEOUT = 120.0


class Running:
    """A server on real time without controllers."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clock = RealClock(self.lock)
        self.store = Store()
        registry = Registry(self.store, self.clock, random.Random(1))
        self.api = Api(registry, anonymous=ADMIN)
        self.server = Server(self.api, self.lock)
        self.clock.start()
        self.server.start()

    def stop(self) -> None:
        self.server.stop()
        self.clock.stop()

    def dial(self) -> socket.socket:
        host, port = self.server.address.split(":")
        return socket.create_connection((host, int(port)), timeout=TIMEOUT)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.server.address, timeout=TIMEOUT)

    def send(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        connection = self.connect()
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, target, raw, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture
def running() -> Iterator[Running]:
    world = Running()
    yield world
    world.stop()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sim-")]


def read_event(response: http.client.HTTPResponse) -> Any:
    return json.loads(response.readline())


def test_one_connection_carries_many_requests(running: Running) -> None:
    connection = running.connect()
    try:
        for number in range(5):
            body = json.dumps({"metadata": {"name": f"c{number}"}})
            connection.request("POST", CONFIG_MAP_PATH, body)
            assert connection.getresponse().read()
        first = connection.sock
        connection.request("GET", CONFIG_MAP_PATH)
        assert len(json.loads(connection.getresponse().read())["items"]) == 5
        assert connection.sock is first
    finally:
        connection.close()


def test_a_body_may_come_in_chunks(running: Running) -> None:
    connection = running.connect()
    try:
        chunks = iter([b'{"metadata":', b'{"name":"a"}}'])
        connection.request("POST", CONFIG_MAP_PATH, chunks, encode_chunked=True)
        assert connection.getresponse().status == 201
    finally:
        connection.close()


def test_a_head_answer_has_no_body(running: Running) -> None:
    connection = running.connect()
    try:
        connection.request("HEAD", "/version")
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
    finally:
        connection.close()


def test_an_http_1_0_connection_is_closed_behind_the_answer(running: Running) -> None:
    with running.dial() as client:
        client.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"\r\n\r\nok")
    assert b"Connection: close" in answer


def test_what_is_no_http_is_hung_up_on(running: Running) -> None:
    with running.dial() as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(100) == b""


def test_watchers_hear_of_a_change_at_once(running: Running) -> None:
    connection = running.connect()
    try:
        connection.request("GET", f"{CONFIG_MAP_PATH}?watch=1")
        response = connection.getresponse()
        running.send("POST", CONFIG_MAP_PATH, {"metadata": {"name": "a"}})
        event = read_event(response)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
    finally:
        connection.close()


def test_a_watch_ends_with_a_proper_last_chunk_and_leaves_the_connection(running: Running) -> None:
    connection = running.connect()
    try:
        connection.request("GET", f"{CONFIG_MAP_PATH}?watch=1&timeoutSeconds=1")
        assert connection.getresponse().read() == b""
        connection.request("GET", "/readyz")  # on the same connection
        assert connection.getresponse().read() == b"ok"
    finally:
        connection.close()


def test_a_watcher_that_leaves_is_forgotten(running: Running) -> None:
    connection = running.connect()
    connection.request("GET", f"{CONFIG_MAP_PATH}?watch=1")
    response = connection.getresponse()
    response.close()
    connection.close()
    for thread in threading.enumerate():
        if thread.name == "sim-connection":
            thread.join(TIMEOUT)
    assert threads() == ["sim-clock", "sim-accept"]


def test_nothing_is_left_when_the_server_has_stopped() -> None:
    world = Running()
    connection = world.connect()
    connection.request("GET", f"{CONFIG_MAP_PATH}?watch=1")
    connection.getresponse()
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Linux's own listing
    world.stop()
    connection.close()
    assert threads() == []
    assert len(os.listdir("/proc/self/fd")) < descriptors  # noqa: PTH208 - pathlib would open one more
    with pytest.raises(ConnectionRefusedError):
        world.send("GET", "/readyz")


def test_a_restart_keeps_the_port_and_cuts_who_is_connected(running: Running) -> None:
    connection = running.connect()
    try:
        connection.request("GET", f"{CONFIG_MAP_PATH}?watch=1")
        response = connection.getresponse()
        address = running.server.address
        running.server.restart(0.0)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        for restarter in (t for t in threading.enumerate() if t.name == "sim-restart"):
            restarter.join(TIMEOUT)  # it may have ended by now
        assert running.server.address == address
        assert running.send("GET", CONFIG_MAP_PATH)[0] == 200
    finally:
        connection.close()


def test_the_python_client_reads_and_writes(running: Running) -> None:
    configuration = kubernetes_client.Configuration(host=running.server.url)
    with kubernetes_client.ApiClient(configuration) as api_client:
        apps = kubernetes_client.AppsV1Api(api_client)
        created = apps.create_namespaced_daemon_set("default", daemonset())
        assert created.spec.update_strategy.rolling_update.max_unavailable == 1
        patch = {"spec": {"minReadySeconds": 5}}
        changed = apps.patch_namespaced_daemon_set("agent", "default", patch)
        assert changed.metadata.generation == 2
        with pytest.raises(kubernetes_client.ApiException) as refused:
            apps.read_namespaced_daemon_set("missing", "default")
        assert refused.value.status == 404


class Kubectl:
    """The real kubectl against a server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.path = folder / "kubeconfig"
        self.path.write_text(yaml.safe_dump(kubeconfig(url, "admin")), encoding="utf-8")
        self.home = folder

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        environment = {
            "KUBECONFIG": str(self.path),
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
        }
        command = [shutil.which("kubectl") or "kubectl", *arguments]
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def kubectl(running: Running, tmp_path: Path) -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed (Debian: apt-get install kubernetes-client)")
    return Kubectl(running.server.url, tmp_path)


def manifest(image: str) -> str:
    body = {"apiVersion": "apps/v1", "kind": "DaemonSet", **daemonset()}
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return yaml.safe_dump(body)


def test_kubectl_applies_and_applies_again_without_a_change(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=manifest("a:1")) == "daemonset.apps/agent created"
    assert kubectl("apply", "-f", "-", stdin=manifest("a:1")) == "daemonset.apps/agent unchanged"
    assert kubectl("apply", "-f", "-", stdin=manifest("a:2")) == "daemonset.apps/agent configured"
    applied = kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest("a:3")
    )
    assert applied == "daemonset.apps/agent serverside-applied"
    image = kubectl("get", "ds", "agent", "-o", "jsonpath={..image}")
    assert image == "a:3"


def test_kubectl_sends_some_bodies_as_protobuf(kubectl: Kubectl) -> None:
    assert kubectl("create", "configmap", "c", "--from-literal=x=y") == "configmap/c created"
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data.x}") == "y"
    assert kubectl("create", "namespace", "n") == "namespace/n created"
    assert kubectl("auth", "can-i", "delete", "pods") == "yes"
    assert "kubernetes-admin" in kubectl("auth", "whoami")


def test_kubectl_explains_from_our_schema(kubectl: Kubectl) -> None:
    assert "maxUnavailable" in kubectl("explain", "ds.spec.updateStrategy.rollingUpdate")


def test_kubectl_labels_annotates_patches_and_deletes(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=manifest("a:1"))
    assert kubectl("label", "ds/agent", "x=y") == "daemonset.apps/agent labeled"
    assert kubectl("annotate", "ds/agent", "x=y") == "daemonset.apps/agent annotated"
    patch = '{"spec":{"minReadySeconds":3}}'
    assert kubectl("patch", "ds/agent", "-p", patch) == "daemonset.apps/agent patched"
    assert kubectl("delete", "ds/agent") == 'daemonset.apps "agent" deleted'


def test_requests_over_http_are_as_those_without(running: Running) -> None:
    status, body = running.send("POST", DAEMONSET_PATH, daemonset())
    assert (status, body["kind"]) == (201, "DaemonSet")


def test_a_broken_handler_breaks_one_answer_only(running: Running) -> None:
    class Broken:
        def handle(self, request: Request) -> Answer:
            raise ZeroDivisionError(request.path)

    running.server.handler = Broken()
    status, body = running.send("GET", "/boom")
    assert (status, body["reason"]) == (500, "InternalError")
    running.server.handler = running.api
    assert running.send("GET", CONFIG_MAP_PATH)[0] == 200


class Meanwhile(threading.Event):
    """The end of a server: while it is waited for, somebody asks for its port."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        host, _, port = server.address.rpartition(":")
        self._place = host, int(port)
        self.said = ""

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(self._place, TIMEOUT)
        with socket.socket() as other, pytest.raises(OSError, match="in use") as caught:
            other.bind(self._place)
        self.said = str(caught.value)
        return True


def test_nobody_is_given_the_port_of_a_server_that_is_down(running: Running) -> None:
    meanwhile = Meanwhile(running.server)
    running.server._ended = meanwhile
    running.server._restart(3600)
    assert "in use" in meanwhile.said


def test_a_delayed_answer_comes_late_and_a_lost_one_never(running: Running) -> None:
    class Slow:
        def handle(self, request: Request) -> Answer:
            answer = running.api.handle(request)
            answer.delay, answer.lost = 0.05, request.path == "/livez"
            return answer

    running.server.handler = Slow()
    begun = time.monotonic()
    assert running.send("GET", CONFIG_MAP_PATH)[0] == 200
    assert time.monotonic() - begun >= 0.05
    with pytest.raises(http.client.RemoteDisconnected):
        running.send("GET", "/livez")
