from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.fleet.objects import Pod
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gates.settings import Settings
from tests.cluster.world import CERTIFICATE, Asked, Reply, Reset, serve, status, talking_to
from tests.fleet.builders import make_node, owner
from tests.gates.worlds import LOOPBACK, NOW, a_context, a_gate

POD = "/api/v1/namespaces/logging/pods/p1"


def asked_for(answer: Any, **fields: Any) -> Measurement:
    with serve(lambda _: answer, tls=True) as world:
        gate = a_gate("http", url=f"{world.url}/health", tls={"caFile": str(CERTIFICATE)}, **fields)
        return measure(gate, a_context())


def test_the_expected_status_passes() -> None:
    assert asked_for(Reply(b"")) == Measurement(Outcome.PASSED, NOW, "200")
    assert asked_for(Reply(b"", 204), expectedStatus=[200, 204]).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (404, Outcome.FAILED),
        (418, Outcome.FAILED),
        (204, Outcome.FAILED),
        (301, Outcome.ERROR),
        (401, Outcome.ERROR),
        (429, Outcome.ERROR),
        (500, Outcome.ERROR),
        (503, Outcome.ERROR),
    ],
)
def test_faults_48_another_status_fails_and_one_about_the_way_there_is_an_error(
    code: int, outcome: Outcome
) -> None:
    body = b"" if code == 204 else b"<b>no\x1b[1m</b>"
    found = asked_for(Reply(body, code, {"Location": "/elsewhere"}))
    assert found.outcome is outcome
    assert found.reason.startswith(f"the server says {code}")
    assert ("<b>no [1m</b>" in found.reason) is bool(body)


def test_a_status_that_the_spec_expects_passes_whatever_it_is() -> None:
    assert asked_for(Reply(b"", 503), expectedStatus=[503]).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("body", "fields", "outcome"),
    [
        ({"queue": {"depth": 3}}, {"jsonPath": "$.queue.depth"}, Outcome.PASSED),
        ({"queue": {"depth": 30}}, {"jsonPath": "$.queue.depth"}, Outcome.FAILED),
        ({"queue": {}}, {"jsonPath": "$.queue.depth"}, Outcome.NO_DATA),
        ({"queue": {"depth": None}}, {"jsonPath": "$.queue.depth"}, Outcome.NO_DATA),
        ({"queue": {"depth": "3"}}, {"jsonPath": "$.queue.depth"}, Outcome.ERROR),
        (3, {}, Outcome.PASSED),
        (b"3 items", {}, Outcome.ERROR),
        (b'{"queue": NaN}', {"jsonPath": "$.queue"}, Outcome.ERROR),
        (b"", {}, Outcome.ERROR),
        (b"\xff\xfe", {}, Outcome.ERROR),
    ],
)
def test_a_value_of_the_answer_is_judged(
    body: Any, fields: dict[str, str], outcome: Outcome
) -> None:
    assert asked_for(Reply(body), successCondition="result < 10", **fields).outcome is outcome


def test_a_post_carries_body_headers_and_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    with serve(lambda _: Reply({}), tls=True) as world:
        gate = a_gate(
            "http",
            url=f"{world.url}/query",
            method="POST",
            body='{"q": 1}',
            headers={"X-Team": "a"},
            secretRef={"env": "TOKEN"},
            tls={"caFile": str(CERTIFICATE)},
        )
        assert measure(gate, a_context()).outcome is Outcome.PASSED
    (asked,) = world.asked
    assert (asked.method, asked.body, asked.headers["x-team"]) == ("POST", {"q": 1}, "a")
    assert asked.headers["authorization"] == "Bearer hunter2"


@pytest.mark.parametrize("secret", ["hunter2\nX-Evil: 1", "hunter2\x00", "hünter2"])
def test_a_secret_that_cannot_stand_in_a_header_is_an_error(secret: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(secret)
    found = asked_for(Reply({}), secretRef={"file": str(tmp_path / "token")})
    assert (found.outcome, found.reason) == (
        Outcome.ERROR,
        "the secret is no token of one line; look at what secretRef names",
    )


def test_nobody_there_is_an_error() -> None:
    assert asked_for(Reset()).outcome is Outcome.ERROR


def a_pod(name: str = "p1", node: str = "n1", uid: str = "ds-uid") -> Pod:
    metadata = {"name": name, "uid": f"uid-{name}", "namespace": "logging"}
    metadata |= {"ownerReferences": [owner(uid)]}  # type: ignore[dict-item] # a list
    return msgspec.convert({"metadata": metadata, "spec": {"nodeName": node}}, Pod)


def on_its_port(
    directory: Path, pod: Any, *pods: Pod, settings: Settings = LOOPBACK, **wanted: Any
) -> tuple[Measurement, list[Asked]]:
    """Ask the pod of n1; the pods' own server listens on loopback, beside the API server."""
    with (
        serve(lambda _: Reply({"ready": True})) as own,
        serve(lambda asked: pod if asked.path == POD else status(404, "none")) as api,
        talking_to(api.url, directory) as client,
    ):
        gate = a_gate(
            "http",
            at="after-node",
            podPort={"port": own.server_port, **wanted},
            path="/ready?full=1",
            jsonPath="$.ready",
            successCondition="result",
        )
        context = a_context(node=make_node("n1"), updated=pods, client=client, settings=settings)
        return measure(gate, context), own.asked


def answered(ip: str = "127.0.0.1", uid: str = "uid-p1") -> Reply:
    return Reply({"metadata": {"name": "p1", "uid": uid}, "status": {"podIP": ip} if ip else {}})


def test_the_updated_nodes_own_pod_is_asked_on_its_port(tmp_path: Path) -> None:
    pods = (a_pod(), a_pod("p2", "n2"), a_pod("other", uid="another"))
    found, asked = on_its_port(tmp_path, answered(), *pods)
    assert found.outcome is Outcome.PASSED
    assert [(a.method, a.path, a.query) for a in asked] == [("GET", "/ready", {"full": "1"})]


@pytest.mark.parametrize(
    ("pod", "pods", "reason"),
    [
        (answered(ip=""), (a_pod(),), "pod p1 has no IP yet"),
        (answered(uid="newer"), (a_pod(),), "pod p1 has been replaced"),
        (answered(), (), "node n1 has 0 updated pods, not one"),
        (answered(), (a_pod(), a_pod("p3")), "node n1 has 2 updated pods, not one"),
        (status(404, "gone"), (a_pod(),), "gone"),
    ],
)
def test_a_pod_that_cannot_be_asked_is_an_error(
    tmp_path: Path, pod: Reply, pods: tuple[Pod, ...], reason: str
) -> None:
    found, asked = on_its_port(tmp_path, pod, *pods)
    assert found.outcome is Outcome.ERROR
    assert reason in found.reason
    assert not asked


def test_a_pods_address_must_be_in_an_allowed_network(tmp_path: Path) -> None:
    found, asked = on_its_port(tmp_path, answered(), a_pod(), settings=Settings())
    assert found.outcome is Outcome.ERROR
    assert "host 127.0.0.1 is not allowed" in found.reason
    assert not asked
    metadata = on_its_port(tmp_path, answered("169.254.169.254"), a_pod())[0]
    assert metadata.outcome is Outcome.ERROR
    allowed = Settings(private=("127.0.0.0/8",))
    found, _ = on_its_port(tmp_path, answered(), a_pod(), settings=allowed)
    assert found.outcome is Outcome.PASSED


def test_a_pod_port_without_a_node_says_where_it_belongs() -> None:
    found = measure(a_gate("http", podPort={"port": 80}), a_context())
    assert found.outcome is Outcome.ERROR
    assert "use it at before-node or after-node" in found.reason
