"""`rollout sim start`: a cluster in the foreground, for the kubernetes client and for kubectl."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from tests.e2e.auditjudge import judge, read_log
from tests.e2e.world import (
    Done,
    Running,
    environment,
    kubectl,
    run,
    spec_document,
)

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is missing")
FLEET = """
nodes:
  - {name: "big-{}", count: 2, zones: [zone-a], labels: {pool: big}}
  - name: gpu
    labels: {pool: gpu}
    taints: [{key: gpu, effect: NoSchedule}]
daemonSets:
  - {name: log-agent, namespace: logging, image: "log-agent:2.3"}
  - name: driver
    namespace: kube-system
    image: "driver:1"
    nodeSelector: {pool: gpu}
    tolerations: [{operator: Exists}]
    strategy: {type: OnDelete}
times: {start: 100ms, stop: 50ms}
"""


def started(*arguments: str | Path) -> Running:
    """Start a cluster and wait until it says that it answers."""
    cluster = Running("sim", "start", *arguments)
    cluster.read_until(lambda line: "export KUBECONFIG=" in line)
    return cluster


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("sim") / "kubeconfig"
    with started("--nodes", "50", "--zones", "3", "--kubeconfig", path) as cluster:
        yield path
        cluster.send(signal.SIGINT)
        assert cluster.end().code == 0


class TestWithKubectl:
    """One cluster of 50 nodes, used with kubectl as a person would."""

    pytestmark = needs_kubectl

    def test_nodes_pods_and_the_daemon_set_are_listed(self, kubeconfig: Path) -> None:
        nodes = kubectl(kubeconfig, "get", "nodes", "--no-headers").out.splitlines()
        pods = kubectl(kubeconfig, "get", "pods", "-n", "logging", "--no-headers").out.splitlines()
        row = kubectl(kubeconfig, "get", "ds", "-n", "logging", "log-agent", "--no-headers").out
        assert len(nodes) == len(pods) == 50
        assert all(line.split()[1] == "Ready" for line in nodes)
        assert all(line.split()[1:3] == ["1/1", "Running"] for line in pods)
        assert row.split()[:6] == ["log-agent", *["50"] * 5]

    def test_zones_are_labels_of_the_nodes(self, kubeconfig: Path) -> None:
        done = kubectl(kubeconfig, "get", "nodes", "-o", "json")
        labels = [
            n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in done.json["items"]
        ]
        assert {zone: labels.count(zone) for zone in set(labels)} == {
            "zone-a": 17,
            "zone-b": 17,
            "zone-c": 16,
        }

    def test_it_is_described(self, kubeconfig: Path) -> None:
        described = kubectl(kubeconfig, "describe", "ds", "log-agent", "-n", "logging").out
        assert "Desired Number of Nodes Scheduled: 50" in described
        assert "log-agent:2.3" in described
        assert kubectl(kubeconfig, "describe", "node", "node-007").code == 0

    def test_objects_are_applied_patched_and_deleted(self, kubeconfig: Path) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}
        manifest = json.dumps({**body, "data": {"a": "1"}})
        changed = json.dumps({**body, "data": {"b": "2"}})
        assert "created" in kubectl(kubeconfig, "apply", "-f", "-", stdin=manifest).out
        assert "configured" in kubectl(kubeconfig, "apply", "-f", "-", stdin=changed).out
        patched = kubectl(kubeconfig, "patch", "cm", "settings", "-p", '{"data": {"c": "3"}}')
        assert patched.code == 0, patched.err
        found = kubectl(kubeconfig, "get", "cm", "settings", "-o", "jsonpath={.data}")
        assert json.loads(found.out) == {"b": "2", "c": "3"}
        assert "deleted" in kubectl(kubeconfig, "delete", "cm", "settings").out
        assert "NotFound" in kubectl(kubeconfig, "get", "cm", "settings").err

    def test_the_history_of_the_daemon_set_is_shown(self, kubeconfig: Path) -> None:
        done = kubectl(kubeconfig, "rollout", "history", "ds/log-agent", "-n", "logging")
        assert done.code == 0, done.err
        assert done.out.splitlines()[2].split()[0] == "1"

    def test_a_deleted_pod_is_replaced_and_a_watch_tells_of_it(self, kubeconfig: Path) -> None:
        one = ("get", "pods", "-n", "logging", "--field-selector", "spec.nodeName=node-000")
        old = kubectl(kubeconfig, *one, "-o", "name").out.strip()
        watch = ("kubectl", "--kubeconfig", str(kubeconfig), *one, "--watch", "-o", "name")
        with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline().strip() == old
            assert kubectl(kubeconfig, "delete", "-n", "logging", old, "--wait=false").code == 0
            new = next(line.strip() for line in watching.stdout if line.strip() != old)
            watching.kill()
        done = kubectl(
            kubeconfig, "wait", "-n", "logging", new, "--for=condition=Ready", "--timeout=60s"
        )
        assert done.code == 0, done.err

    def test_kubectls_own_rolling_update_works(self, kubeconfig: Path) -> None:
        rolling = {"maxUnavailable": "50%"}
        patch = {"spec": {"updateStrategy": {"rollingUpdate": rolling}}}
        there = ("-n", "logging")
        assert (
            kubectl(kubeconfig, "patch", "ds", "log-agent", *there, "-p", json.dumps(patch)).code
            == 0
        )
        assert kubectl(kubeconfig, "set", "image", "ds/log-agent", "agent=x:2", *there).code == 0
        done = kubectl(kubeconfig, "rollout", "status", "ds/log-agent", *there, "--timeout=80s")
        assert done.code == 0, done.err
        assert "successfully rolled out" in done.out


def test_the_python_client_reads_it_and_rollout_updates_it(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with started("--nodes", "3", "--kubeconfig", path) as cluster:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        api = kubernetes_config.new_client_from_config(str(path))
        with api:
            nodes = kubernetes_client.CoreV1Api(api).list_node().items
            found = kubernetes_client.AppsV1Api(api).read_namespaced_daemon_set(
                "log-agent", "logging"
            )
        assert [node.metadata.name for node in nodes] == ["node-000", "node-001", "node-002"]
        assert found.status.number_available == 3
        status = run("status", "log-agent", "-n", "logging", "--kubeconfig", path)
        assert status.code == 0, status.err
        cluster.send(signal.SIGTERM)
        done = cluster.end()
    assert done.code == 0
    assert done.err == ""
    assert not path.exists()


def test_a_fleet_file_says_what_there_is(tmp_path: Path) -> None:
    fleet, path = tmp_path / "fleet.yaml", tmp_path / "kubeconfig"
    fleet.write_text(FLEET)
    with started("--fleet", fleet, "--kubeconfig", path) as cluster:
        agent, driver = (
            run("status", name, "-n", namespace, "--kubeconfig", path, "-o", "json").json
            for name, namespace in (("log-agent", "logging"), ("driver", "kube-system"))
        )
        cluster.send(signal.SIGINT)
        assert cluster.end().code == 0
    fates = {node["node"]: node["fate"] for node in agent["nodes"]}
    assert fates == {"big-000": "current", "big-001": "current", "gpu": "ineligible"}
    assert driver["strategy"] == "OnDelete"
    assert [n["node"] for n in driver["nodes"] if n["fate"] == "current"] == ["gpu"]


def test_every_cluster_has_an_identity_of_its_own(tmp_path: Path) -> None:
    uids = set()
    for name in ("one", "two"):
        with started("--nodes", "1", "--kubeconfig", tmp_path / name) as cluster:
            api = kubernetes_config.new_client_from_config(str(tmp_path / name))
            with api:
                space = kubernetes_client.CoreV1Api(api).read_namespace("kube-system")
            uids.add(space.metadata.uid)
            cluster.send(signal.SIGINT)
            cluster.end()
    assert len(uids) == 2


def test_its_audit_log_tells_who_replaced_which_pod(tmp_path: Path) -> None:
    path, log, spec = (tmp_path / name for name in ("kubeconfig", "audit.jsonl", "spec.yaml"))
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    spec.write_text(yaml.safe_dump(spec_document()))
    with started("--fleet", fleet, "--kubeconfig", path, "--audit", log) as cluster:
        done = run("apply", "-f", spec, "--yes", "--kubeconfig", path)
        cluster.send(signal.SIGINT)
        assert cluster.end().code == 0
    assert done.code == 0, done.err
    events = read_log(log)
    owners = {
        owner["uid"]
        for event in events
        if event["verb"] == "create" and event["objectRef"]["resource"] == "pods"
        for owner in event["responseObject"]["metadata"].get("ownerReferences", ())
    }
    verdict = judge(events, *owners)
    assert [delete.bound for delete in verdict.deletes_by("kubernetes-admin")] == [True, True]
    assert verdict.created == 2
    assert len(verdict.down) == 1
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_an_audit_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "audit.jsonl"
    refused = sim_start(tmp_path, "--audit", missing)
    assert refused.code == 1
    assert f"{missing}: cannot be written: No such file or directory" in refused.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_audit_log_that_is_full_is_told_and_the_cluster_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with started("--nodes", "2", "--kubeconfig", path, "--audit", "/dev/full") as cluster:
        listed = run("status", "log-agent", "-n", "logging", "--kubeconfig", path)
        cluster.send(signal.SIGINT)
        ended = cluster.end()
    assert listed.code == 0, listed.err
    assert ended.code == 1
    assert ended.err.count("warning: /dev/full: takes no more events: No space left on device") == 1
    assert "/dev/full: events are missing at its end" in ended.err
    assert "Traceback" not in ended.err


def test_the_port_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = sim_start(tmp_path, "--port", port)
    assert refused.code == 1
    assert f"port {port} cannot be opened" in refused.err
    with started("--port", port, "--kubeconfig", tmp_path / "kubeconfig") as cluster:
        config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
        assert config["clusters"][0]["cluster"]["server"] == f"http://127.0.0.1:{port}"
        cluster.send(signal.SIGINT)
        assert cluster.end().code == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nodess: []\n", ":1: nodess: unknown key; did you mean 'nodes'?"),
        ("nodes:\n  - {count: 0}\n", ":2: nodes[0].count: "),
        ("daemonSets:\n  - {name: a}\n", ":2: daemonSets[0]: 'image' is missing"),
        ("a: [\n", ":2: not valid YAML"),
        ("daemonSets: [{name: a, namespace: '*', image: b}]\n", ': Namespace "*" is invalid: '),
    ],
    ids=["unknown key", "no node", "no image", "broken", "refused by the API"],
)
def test_a_wrong_fleet_file_is_refused_with_its_line(tmp_path: Path, text: str, part: str) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(text)
    done = sim_start(tmp_path, "--fleet", fleet)
    assert done.code == 65
    assert f"error: {fleet}{part}" in done.err


def test_a_fleet_file_excludes_nodes_and_zones(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    assert sim_start(tmp_path, "--fleet", fleet, "--nodes", "3").code == 64
    assert sim_start(tmp_path, "--nodes", "-1").code == 64


def sim_start(directory: Path, *arguments: str | Path) -> Done:
    """Start a cluster that is not expected to come up."""
    kubeconfig = directory / "refused"
    done = run("sim", "start", *arguments, "--kubeconfig", kubeconfig, env=environment())
    assert not kubeconfig.exists()
    return done


def test_beside_real_clusters_it_is_reached_by_its_context_and_gone_at_the_end(
    tmp_path: Path,
) -> None:
    precious = tmp_path / "config"
    precious.write_text(
        "apiVersion: v1\nkind: Config\n"
        "clusters: [{name: prod, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: prod, context: {cluster: prod, user: ''}}]\ncurrent-context: prod\n"
    )
    before = yaml.safe_load(precious.read_text())
    with started("--nodes", "1", "--kubeconfig", precious) as cluster:
        there = ("-n", "logging", "--kubeconfig", precious)
        assert run("status", "log-agent", *there).code == 1
        assert run("status", "log-agent", *there, "--context", "rollout-sim").code == 0
        cluster.send(signal.SIGINT)
        done = cluster.end()
    assert (done.code, done.err) == (0, "")
    assert "--context rollout-sim: the current one is prod" in done.out
    assert yaml.safe_load(precious.read_text()) == before | {"users": []}


def test_a_signal_that_comes_while_it_is_suspended_ends_it_too(tmp_path: Path) -> None:
    config = tmp_path / "config"
    for _ in range(3):  # which of its threads gets the signal is chance
        with started("--nodes", "1", "--kubeconfig", config) as cluster:
            assert run("status", "log-agent", "-n", "logging", "--kubeconfig", config).code == 0
            cluster.send(signal.SIGSTOP)
            state = Path(f"/proc/{cluster.process.pid}/stat")
            while ") T " not in state.read_text():
                pass
            cluster.send(signal.SIGINT)
            cluster.send(signal.SIGCONT)
            assert cluster.process.wait(60.0) == 0


def test_a_kubeconfig_whose_cluster_still_answers_is_refused_and_that_of_a_dead_one_replaced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "kubeconfig"
    with started("--nodes", "1", "--kubeconfig", path) as first:
        written = path.read_bytes()
        second = run("sim", "start", "--kubeconfig", path)
        assert (second.code, path.read_bytes()) == (1, written), second.out
        assert f"{path}: another embedded cluster answers at the address in it" in second.err
        assert "choose another place with --kubeconfig" in second.err
        first.send(signal.SIGSTOP)  # it runs on after a while
        assert run("sim", "start", "--kubeconfig", path).code == 1
        first.send(signal.SIGKILL)
        first.end()
    with started("--nodes", "1", "--kubeconfig", path) as third:
        assert path.read_bytes() != written
        third.send(signal.SIGINT)
        assert third.end().code == 0
    assert not path.exists()


def test_a_file_that_is_no_kubeconfig_is_never_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "notes"
    precious.write_text("buy milk\n")
    done = run("sim", "start", "--nodes", "1", "--kubeconfig", precious)
    assert done.code == 1
    assert f"error: {precious}: is there already and is no kubeconfig" in done.err
    assert precious.read_text() == "buy milk\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_well_also_while_somebody_watches(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "kubeconfig"
    with started("--nodes", "1", "--kubeconfig", path) as cluster:
        server = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"]
        host, _, port = server.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as watcher:
            watcher.sendall(b"GET /api/v1/nodes?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert watcher.recv(100).startswith(b"HTTP/1.1 200")
            cluster.send(number)
            done = cluster.end()
    assert (done.code, done.err) == (0, "")
    assert not path.exists()
