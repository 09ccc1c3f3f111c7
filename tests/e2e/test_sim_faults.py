"""`rollout sim start --faults`: each fault strikes over HTTP, and a counter proves it.

Faults are bound to the names of config maps, so that one cluster serves all tests; those that hurt
the cluster begin with a request.
"""

from __future__ import annotations

import http.client
import itertools
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from tests.e2e.world import Running
from tests.sim.apiworld import Answer

FLEET = """
nodes: [{name: "node-{}", count: 4, zones: [zone-a, zone-b]}]
daemonSets: [{name: log-agent, namespace: logging, image: "log-agent:2.3"}]
times: {start: 100ms, stop: 50ms}
users:
  - {name: dev, token: dev-token, rules: [{verbs: ["*"], apiGroups: [""], resources: ["*"]}]}
"""
SCRIPT = """
faults:
  - {name: refused-twice, match: {verbs: [get], names: [error]}, error: 503, after: 1, count: 2}
  - {name: throttled, match: {names: [throttle]}, throttle: 3s, count: 1}
  - {name: lost, match: {verbs: [delete], names: [lose], resources: [configmaps]}, lose: true}
  - {name: cut-off, match: {names: [refuse]}, refuse: true, count: 1}
  - {name: slow, match: {names: [delay]}, delay: 200ms}
  - {name: behind, match: {verbs: [get], names: [stale]}, stale: 1h}
  - {name: gone, match: {verbs: [list], resources: [secrets]}, expire: true, count: 1}
  - {name: gone-watch, match: {verbs: [watch], resources: [secrets]}, expire: true, count: 1}
  - {name: revoked, match: {users: [dev]}, revoke: true}
  - {name: torn, match: {names: [truncate]}, truncate: true}
  - {name: blank, match: {verbs: [list], resources: [nodes]}, empty: true, count: 1}
  - {name: dropped, match: {verbs: [watch], namespaces: [drop]}, drop: {events: 1}}
  - {name: doubled, match: {verbs: [watch], namespaces: [double]}, duplicate: 2}
  - {name: stalled, match: {verbs: [watch], namespaces: [stall]}, stall: 300ms}
  - {name: lagging, match: {verbs: [watch], namespaces: [lag]}, stale: 300ms}
  - {name: no-manager, match: {verbs: [delete], names: [stop]}, for: 1h, stopControllers: true}
  - {name: dark-node, match: {verbs: [delete], names: [lose-node]}, loseNode: node-000}
  - {name: dark-zone, match: {verbs: [delete], names: [lose-zone]}, loseZone: zone-b}
  - {name: no-node, match: {verbs: [delete], names: [remove]}, removeNode: node-002}
  - name: bad-image
    match: {verbs: [delete], names: [break]}
    breakImage: {image: x, fault: crash}
  - {name: forgetful, match: {verbs: [delete], names: [compact]}, compact: true}
  - {name: outage, match: {verbs: [delete], names: [restart]}, for: 300ms, restart: true}
"""
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/logging/pods"
DEV = {"Authorization": "Bearer dev-token"}


@dataclass
class Client:
    """Speaks plain HTTP, without any retries of its own."""

    address: str

    def send(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", **headers}
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.send("GET", target, **headers)

    def create(self, name: str, namespace: str = "default") -> Answer:
        body = {"metadata": {"name": name}}
        return self.send("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)

    def set_off(self, name: str) -> Answer:
        """Send the request that a fault of the cluster waits for."""
        return self.send("DELETE", f"{CONFIG_MAPS}/{name}")

    def watch(self, target: str) -> Iterator[Any]:
        """Yield events until the watch ends, in whatever way."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            while line := answer.readline():
                yield json.loads(line)
        except (http.client.IncompleteRead, ConnectionError):
            return
        finally:
            connection.close()

    def hits(self, name: str) -> int:
        hits: int = self.get("/debug/faults").body[name]["hits"]
        return hits


def answering(running: Running, kubeconfig: Path) -> Client:
    """Wait until a cluster answers, and return a client of it."""
    running.read_until(lambda line: "export KUBECONFIG=" in line)
    config = yaml.safe_load(kubeconfig.read_text())
    return Client(config["clusters"][0]["cluster"]["server"].removeprefix("http://"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("faults")
    fleet, script, kubeconfig = (directory / name for name in ("fleet", "script", "kubeconfig"))
    fleet.write_text(FLEET)
    script.write_text(SCRIPT)
    with Running(
        *("sim", "start", "--fleet", fleet, "--faults", script, "--kubeconfig", kubeconfig)
    ) as running:
        yield answering(running, kubeconfig)
        running.send(signal.SIGTERM)
        done = running.end()
    assert done.code == 0
    assert done.err == ""


def test_errors_strike_by_verb_name_and_count(cluster: Client) -> None:
    assert cluster.create("error").status == 201
    path = f"{CONFIG_MAPS}/error"
    assert [cluster.get(path).status for _ in range(4)] == [200, 503, 503, 200]
    assert cluster.hits("refused-twice") == 2


def test_throttling_says_when_to_come_back(cluster: Client) -> None:
    answer = cluster.get(f"{CONFIG_MAPS}/throttle")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert answer.body["reason"] == "TooManyRequests"
    assert cluster.hits("throttled") == 1


def test_a_lost_answer_comes_after_the_write_was_done(cluster: Client) -> None:
    assert cluster.create("lose").status == 201
    with pytest.raises(http.client.RemoteDisconnected):
        cluster.set_off("lose")
    assert cluster.get(f"{CONFIG_MAPS}/lose").status == 404
    assert cluster.hits("lost") == 1


def test_a_refused_request_is_not_done(cluster: Client) -> None:
    assert cluster.create("refuse").status == 201
    with pytest.raises(http.client.RemoteDisconnected):
        cluster.set_off("refuse")
    assert cluster.get(f"{CONFIG_MAPS}/refuse").status == 200
    assert cluster.hits("cut-off") == 1


def test_a_delayed_answer_is_right(cluster: Client) -> None:
    cluster.create("delay")
    assert cluster.get(f"{CONFIG_MAPS}/delay").status == 200
    assert cluster.hits("slow") == 1


def test_a_stale_read_shows_what_was(cluster: Client) -> None:
    cluster.create("stale")
    assert cluster.get(f"{CONFIG_MAPS}/stale").status == 404
    assert "stale" in {item["metadata"]["name"] for item in cluster.get(CONFIG_MAPS).body["items"]}
    assert cluster.hits("behind") == 1


def test_lists_and_watches_expire(cluster: Client) -> None:
    secrets = "/api/v1/secrets"
    assert (gone := cluster.get(secrets)).status == 410
    assert gone.body["reason"] == "Expired"
    (event,) = cluster.watch(f"{secrets}?watch=1&resourceVersion=1")
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert cluster.hits("gone") == cluster.hits("gone-watch") == 1


def test_a_permission_is_revoked(cluster: Client) -> None:
    answer = cluster.get(PODS, **DEV)
    assert (answer.status, answer.body["reason"]) == (403, "Forbidden")
    assert cluster.get(PODS).status == 200
    assert cluster.hits("revoked") == 1


def test_answers_lie(cluster: Client) -> None:
    cluster.create("truncate")
    with pytest.raises(json.JSONDecodeError):
        json.loads(cluster.get(f"{CONFIG_MAPS}/truncate").text)
    assert cluster.get("/api/v1/nodes").body["items"] == []
    assert len(cluster.get("/api/v1/nodes").body["items"]) == 4
    assert cluster.hits("torn") == cluster.hits("blank") == 1


@pytest.mark.parametrize(
    ("namespace", "fault", "told"),
    [
        ("drop", "dropped", ["a"]),
        ("double", "doubled", ["a", "a", "b", "b"]),
        ("stall", "stalled", ["a", "b"]),
        ("lag", "lagging", ["a", "b"]),
    ],
)
def test_watches_are_cut_doubled_and_silent(
    cluster: Client, namespace: str, fault: str, told: list[str]
) -> None:
    made = cluster.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    assert made.status == 201
    for name in ("a", "b", "end"):
        cluster.create(name, namespace)
    target = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=60"
    names = (event["object"]["metadata"]["name"] for event in cluster.watch(target))
    assert list(itertools.takewhile(lambda name: name != "end", names)) == told
    assert cluster.hits(fault) == 1


def test_nodes_and_zones_go_dark(cluster: Client) -> None:
    cluster.set_off("lose-node")
    cluster.set_off("lose-zone")
    assert cluster.hits("dark-node") == cluster.hits("dark-zone") == 1


def test_a_node_is_removed_and_an_image_breaks(cluster: Client) -> None:
    cluster.set_off("remove")
    cluster.set_off("break")
    assert cluster.get("/api/v1/nodes/node-002").status == 404
    assert cluster.hits("no-node") == cluster.hits("bad-image") == 1


def test_versions_are_forgotten(cluster: Client) -> None:
    version = cluster.create("old").body["metadata"]["resourceVersion"]
    cluster.create("new")
    cluster.set_off("compact")
    exact = f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact"
    assert cluster.get(exact).status == 410
    assert cluster.hits("forgetful") == 1


def test_without_controllers_nobody_replaces_a_pod(cluster: Client) -> None:
    cluster.set_off("stop")
    before = cluster.get(PODS).body["items"]
    pod = next(pod for pod in before if pod["spec"]["nodeName"] == "node-001")
    dead = f"{PODS}/{pod['metadata']['name']}?gracePeriodSeconds=0"
    assert cluster.send("DELETE", dead).status == 200
    target = f"{PODS}?watch=1&timeoutSeconds=1&fieldSelector=spec.nodeName=node-001"
    assert [event["type"] for event in cluster.watch(target)] == []
    assert cluster.hits("no-manager") == 1


def test_a_restart_cuts_everybody_and_the_port_comes_back(cluster: Client) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        cluster.set_off("restart")
    patient = urllib3.Retry(total=20, backoff_factor=0.05, backoff_max=0.2)
    with urllib3.PoolManager(retries=patient) as pool:
        answer = pool.request("GET", f"http://{cluster.address}/readyz")
    assert answer.status == 200
    assert cluster.hits("outage") == 1


def test_at_its_end_the_cluster_says_how_often_each_fault_struck(tmp_path: Path) -> None:
    script, kubeconfig = tmp_path / "script", tmp_path / "kubeconfig"
    script.write_text(SCRIPT)
    with Running("sim", "start", "--faults", script, "--kubeconfig", kubeconfig) as running:
        client = answering(running, kubeconfig)
        for _ in range(4):
            client.get(f"{CONFIG_MAPS}/error")
        running.send(signal.SIGTERM)
        done = running.end()
    assert "fault refused-twice: struck 2, matching requests 4\n" in done.out
    assert "fault outage: struck 0, matching requests 0\n" in done.out


def test_a_wrong_script_is_refused_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "faults.yaml"
    script.write_text("faults:\n  - {eror: 500}\n")
    with Running(
        *("sim", "start", "--faults", script, "--kubeconfig", tmp_path / "config")
    ) as running:
        done = running.end()
    assert done.code == 65
    assert f"{script}:2" in done.err
