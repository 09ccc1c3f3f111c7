"""A whole cluster behind its server: controllers, logs, users and faults together."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

import pytest

from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import default_fleet

PODS = "/api/v1/namespaces/logging/pods"


def send(embedded: EmbeddedCluster, method: str, target: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(embedded.server.address, timeout=120)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_it_answers_and_leaves_nothing_behind() -> None:
    with EmbeddedCluster(default_fleet(3)) as embedded:
        status, body = send(embedded, "GET", PODS)
        assert (status, len(body["items"])) == (200, 3)
        assert embedded.kubeconfig()["clusters"][0]["cluster"]["server"] == embedded.server.url
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("sim-")]


def test_faults_strike_over_http() -> None:
    script = read_faults(
        None, "faults: [{name: e, error: 503, count: 1}, {refuse: true, after: 1}]"
    )
    with EmbeddedCluster(default_fleet(1), faults=script) as embedded:
        assert send(embedded, "GET", PODS)[0] == 503
        with pytest.raises(http.client.RemoteDisconnected):
            send(embedded, "GET", PODS)
        assert embedded.injector is not None
        assert embedded.injector.unreached() == []


def test_a_server_that_is_down_refuses_connections() -> None:
    text = "faults: [{restart: true, for: 1h, match: {verbs: [delete]}}]"
    with EmbeddedCluster(default_fleet(1), faults=read_faults(None, text)) as embedded:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            send(embedded, "DELETE", f"{PODS}/none")
        restarter = next(t for t in threading.enumerate() if t.name == "sim-restart")
        assert restarter.is_alive()
    with pytest.raises(ConnectionRefusedError):
        send(embedded, "GET", PODS)
