"""kubectl against the embedded cluster: what a person types, what it prints, what becomes of it.

Everything goes through the real kubectl and HTTP. kubectl waits for what has to come (`rollout
status`, `wait`, `get -w`), so nothing here sleeps.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, Done, World, environment, fleet, world

THERE = ("-n", NAMESPACE)
DS = f"ds/{NAME}"
OLDEST_KUBECTL = (1, 32)
DS_COLUMNS = "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE"
EDGE = """
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: web}
data: {colour: blue}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: web}
spec:
  selector: {app: edge}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: edge, namespace: web}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: edge}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: edge, namespace: web}
spec:
  podSelector: {matchLabels: {app: edge}}
  ingress: [{from: [{podSelector: {}}], ports: [{port: 80, protocol: TCP}]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: edge, namespace: web}
spec:
  selector: {matchLabels: {app: edge}}
  updateStrategy: {rollingUpdate: {maxUnavailable: 100%}}
  template:
    metadata: {labels: {app: edge}}
    spec:
      containers:
        - name: edge
          image: edge:1
          ports: [{name: http, containerPort: 80}]
          env: [{name: C, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}]
          resources: {requests: {cpu: 100m, memory: 64Mi}}
          readinessProbe: {httpGet: {path: /, port: http}}
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A cluster for tests that leave it as it was."""
    with world(fleet(nodes=3), tmp_path_factory.mktemp("kubectl")) as made:
        version = ok(made, "version", "--client", "-o", "json").json["clientVersion"]
        found = (int(version["major"]), int(version["minor"].rstrip("+")))
        assert found >= OLDEST_KUBECTL, f"kubectl 1.32 or newer is needed, this is {found}"
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    """A cluster for one test."""
    with world(fleet(nodes=3), tmp_path) as made:
        yield made


def ok(on: World, *arguments: str, stdin: str | None = None) -> Done:
    """Run kubectl, which has to succeed."""
    done = on.kubectl(*arguments, stdin=stdin)
    assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}"
    return done


def refused(on: World, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl, which has to fail; returns what it says."""
    done = on.kubectl(*arguments, stdin=stdin)
    assert done.code == 1, f"kubectl {' '.join(arguments)}: {done.out}"
    return done.err


def table(done: Done) -> list[list[str]]:
    """Return the cells of a printed table whose cells have no blanks; the first row is its head."""
    return [line.split() for line in done.out.splitlines()]


def value(on: World, *arguments: str) -> str:
    """Return what a JSON path of `kubectl get` finds."""
    *what, path = arguments
    return ok(on, "get", *what, "-o", f"jsonpath={path}").out


def pod_on(on: World, node: str, namespace: str = NAMESPACE) -> str:
    selector = ("--field-selector", f"spec.nodeName={node}")
    return ok(on, "get", "pods", "-n", namespace, *selector, "-o", "name").out.strip()


def images(on: World) -> set[str]:
    return set(value(on, "pods", *THERE, "{.items[*].spec.containers[0].image}").split())


class Told:
    """What a kubectl says that goes on, read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._lines = process.stdout

    def until(self, *cells: str) -> list[str]:
        """Return the next line that has all these cells."""
        for line in self._lines:
            if set(cells) <= set(line.split()):
                return line.split()
        raise AssertionError(f"it ended before {cells}")


@contextmanager
def told_by(on: World, *arguments: str) -> Iterator[Told]:
    command = ("kubectl", "--kubeconfig", str(on.kubeconfig), *arguments)
    env = environment(HOME=str(on.directory))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            yield Told(process)
        finally:
            process.kill()


def watching(on: World, *arguments: str) -> AbstractContextManager[Told]:
    return told_by(on, "get", *arguments, "-w")


class TestLooking:
    """Reading prints what it prints on any cluster."""

    def test_the_version_is_that_of_the_server(self, shared: World) -> None:
        version = ok(shared, "version", "-o", "json").json["serverVersion"]
        assert (version["major"], version["minor"]) == ("1", "36")

    @pytest.mark.parametrize(
        ("what", "head", "row"),
        [
            (("nodes",), "NAME STATUS ROLES AGE VERSION", "node-000 Ready <none>"),
            (
                ("ds", *THERE),
                DS_COLUMNS,
                f"{NAME} 3 3 3 3 3 <none>",
            ),
            (("pods", *THERE), "NAME READY STATUS RESTARTS AGE", "{pod} 1/1 Running 0"),
            (
                ("pods", *THERE, "-o", "wide"),
                "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
                "{pod} 1/1 Running 0",
            ),
            (
                ("ds", "-A", "-o", "wide"),
                f"NAMESPACE {DS_COLUMNS} CONTAINERS IMAGES SELECTOR",
                f"{NAMESPACE} {NAME} 3 3 3 3 3 <none>",
            ),
            (
                ("controllerrevisions", *THERE),
                "NAME CONTROLLER REVISION AGE",
                f"{{revision}} daemonset.apps/{NAME} 1",
            ),
            (("ns",), "NAME STATUS AGE", "default Active"),
        ],
        ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
    )
    def test_get_has_the_usual_columns(
        self, shared: World, what: tuple[str, ...], head: str, row: str
    ) -> None:
        names = {
            "pod": value(shared, "pods", *THERE, "{.items[0].metadata.name}"),
            "revision": value(shared, "controllerrevisions", *THERE, "{.items[0].metadata.name}"),
        }
        printed = table(ok(shared, "get", *what))
        expected = row.format(**names).split()
        assert printed[0] == head.split()
        assert printed[1][: len(expected)] == expected

    def test_describe_tells_of_a_node_and_its_pods(self, shared: World) -> None:
        told = ok(shared, "describe", "node", "node-001").out
        assert "topology.kubernetes.io/zone=zone-b" in told
        assert "kubelet is posting ready status" in told
        assert "Non-terminated Pods:          (1 in total)" in told

    def test_describe_tells_of_a_daemon_set(self, shared: World) -> None:
        told = ok(shared, "describe", DS, *THERE).out
        assert "Desired Number of Nodes Scheduled: 3" in told
        assert "Pods Status:  3 Running / 0 Waiting / 0 Succeeded / 0 Failed" in told

    def test_describe_tells_of_a_pod(self, shared: World) -> None:
        told = ok(shared, "describe", *THERE, pod_on(shared, "node-002")).out
        assert f"Controlled By:  DaemonSet/{NAME}" in told
        assert "node.kubernetes.io/unschedulable:NoSchedule op=Exists" in told
        assert f"Image:          {OLD}" in told

    def test_selectors_columns_and_paths(self, shared: World) -> None:
        zone = ok(shared, "get", "nodes", "-l", "topology.kubernetes.io/zone in (zone-a)")
        assert [row[0] for row in table(zone)[1:]] == ["node-000", "node-002"]
        columns = ("-o", "custom-columns=N:.spec.nodeName", "--sort-by=.spec.nodeName")
        printed = table(ok(shared, "get", "pods", *THERE, *columns, "--chunk-size=1"))
        assert printed == [["N"], ["node-000"], ["node-001"], ["node-002"]]
        none = ok(shared, "get", "pods", "-A", "--field-selector", "status.phase!=Running")
        assert none.err == "No resources found\n"

    def test_who_may_do_what(self, shared: World) -> None:
        assert ok(shared, "auth", "can-i", "delete", "pods").out == "yes\n"
        denied = shared.kubectl("auth", "can-i", "delete", "pods", "--as", "bob")
        assert (denied.code, denied.out) == (1, "no\n")
        assert "*.*" in ok(shared, "auth", "can-i", "--list").out
        message = refused(shared, "get", "pods", *THERE, "--as", "bob")
        assert message == (
            'Error from server (Forbidden): pods is forbidden: User "bob" cannot list resource '
            f'"pods" in API group "" in the namespace "{NAMESPACE}"\n'
        )

    def test_top_shows_what_pods_and_nodes_use(self, shared: World) -> None:
        head, *rows = table(ok(shared, "top", "pod", *THERE))
        assert head == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
        assert len(rows) == 3
        assert all(cpu.endswith("m") and memory.endswith("Mi") for _, cpu, memory in rows)
        assert len(table(ok(shared, "top", "node"))) == 4

    def test_raw_paths(self, shared: World) -> None:
        assert ok(shared, "get", "--raw", "/readyz").out == "ok"
        document = ok(shared, "get", "--raw", "/apis/apps/v1/daemonsets?limit=1").json
        assert document["kind"] == "DaemonSetList"
        assert "could not find the requested resource" in refused(shared, "get", "--raw", "/no")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("get", "pod", "nope"), 'Error from server (NotFound): pods "nope" not found'),
            (("get", "bogus"), 'the server doesn\'t have a resource type "bogus"'),
            (("get", "pods", "--field-selector", "a=b"), "field label not supported: a"),
            (("scale", DS, *THERE, "--replicas=2"), "could not find the requested resource"),
            (("logs", "nope"), 'pods "nope" not found'),
            (("exec", DS, *THERE, "--", "ls"), "does not simulate pods/exec"),
        ],
        ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
    )
    def test_errors_read_as_on_any_cluster(
        self, shared: World, arguments: tuple[str, ...], message: str
    ) -> None:
        assert message in refused(shared, *arguments)

    def test_fields_are_explained(self, shared: World) -> None:
        assert "rollingUpdate" in ok(shared, "explain", "ds.spec.updateStrategy").out
        assert "podSelector" in ok(shared, "explain", "netpol.spec").out
        older = ("explain", "ds.spec.updateStrategy", "--output", "plaintext-openapiv2")
        assert "rollingUpdate" in ok(shared, *older).out


class TestManifests:
    """Files are applied, compared and applied again."""

    def test_a_manifest_is_created_once_and_then_unchanged(self, own: World) -> None:
        created = ok(own, "apply", "-f", "-", stdin=EDGE).out.splitlines()
        assert [line.split()[1] for line in created] == ["created"] * 6
        again = ok(own, "apply", "-f", "-", stdin=EDGE)
        assert [line.split()[1] for line in again.out.splitlines()] == ["unchanged"] * 6
        assert again.err == ""
        ok(own, "rollout", "status", "ds/edge", "-n", "web", "--timeout=60s")
        assert ok(own, "diff", "-f", "-", stdin=EDGE).out == ""
        assert value(own, "ds/edge", "-n", "web", "{.status.numberAvailable}") == "3"
        assert value(own, "svc/edge", "-n", "web", "{.spec.clusterIP}").startswith("10.")
        assert table(ok(own, "get", "netpol", "-n", "web"))[0] == ["NAME", "POD-SELECTOR", "AGE"]
        assert "Max unavailable:  1" in ok(own, "describe", "pdb", "edge", "-n", "web").out

    def test_a_list_is_checked_and_created_once_and_then_unchanged(self, own: World) -> None:
        items = list(yaml.safe_load_all(EDGE))
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        created = ok(own, "apply", "-f", "-", stdin=listed).out.splitlines()
        assert [line.split()[1] for line in created] == ["created"] * 6
        again = ok(own, "apply", "-f", "-", stdin=listed)
        assert [line.split()[1] for line in again.out.splitlines()] == ["unchanged"] * 6
        there = ok(own, "get", "ds,svc,cm,pods,nodes,leases", "-A", "-o", "json").out
        ok(own, "apply", "--dry-run=client", "-f", "-", stdin=there)

    @pytest.mark.parametrize(
        ("good", "bad", "message"),
        [
            ("readinessProbe", "readynessProbe", 'unknown field "readynessProbe"'),
            ('"edge:1"', '["edge:1"]', 'Container.image: got "array", expected "string"'),
        ],
    )
    def test_what_is_wrong_in_a_list_is_named_before_anything_is_sent(
        self, shared: World, good: str, bad: str, message: str
    ) -> None:
        items = list(yaml.safe_load_all(EDGE))
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        assert message in refused(shared, "apply", "-f", "-", stdin=listed.replace(good, bad))
        assert "web" not in ok(shared, "get", "namespaces", "-o", "name").out

    def test_a_changed_manifest_is_shown_tried_and_rolled_out(self, own: World) -> None:
        ok(own, "apply", "-f", "-", stdin=EDGE)
        changed = EDGE.replace("edge:1", "edge:2")
        difference = own.kubectl("diff", "-f", "-", stdin=changed)
        assert difference.code == 1
        assert "+        image: edge:2" in difference.out
        tried = ok(own, "apply", "-f", "-", "--dry-run=server", stdin=changed).out
        assert "daemonset.apps/edge configured (server dry run)" in tried
        path = "{.spec.template.spec.containers[0].image}"
        assert value(own, "ds/edge", "-n", "web", path) == "edge:1"
        assert "daemonset.apps/edge configured" in ok(own, "apply", "-f", "-", stdin=changed).out
        ok(own, "rollout", "status", "ds/edge", "-n", "web", "--timeout=60s")
        found = value(own, "pods", "-n", "web", "{.items[*].spec.containers[0].image}")
        assert found.split() == ["edge:2"] * 3

    def test_server_side_apply_finds_conflicts(self, own: World) -> None:
        ok(own, "apply", "--server-side", "-f", "-", stdin=EDGE)
        changed = EDGE.replace("edge:1", "edge:2")
        there = ("apply", "--server-side", "-f", "-", "--field-manager", "other")
        conflict = refused(own, *there, stdin=changed)
        assert 'conflict with "kubectl": .spec.template.spec.containers[name="edge"].image' in (
            conflict
        )
        ok(own, *there, "--force-conflicts", stdin=changed)
        managers = value(own, "ds/edge", "-n", "web", "{.metadata.managedFields[*].manager}")
        assert {"kubectl", "other"} <= set(managers.split())

    def test_a_manifest_that_makes_no_sense_is_refused_with_every_reason(self, own: World) -> None:
        spoiled = json.loads(value(own, DS, *THERE, "{@}"))
        spoiled["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        spoiled["spec"]["updateStrategy"]["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 0}
        message = refused(own, "replace", "-f", "-", stdin=json.dumps(spoiled))
        assert f'The DaemonSet "{NAME}" is invalid:' in message
        assert "spec.selector: Invalid value" in message
        assert "`selector` does not match template `labels`" in message
        assert "spec.updateStrategy.rollingUpdate" in message

    def test_unknown_fields_are_named(self, own: World) -> None:
        spoiled = EDGE.replace("updateStrategy:", "updateStratgy:")
        message = refused(own, "apply", "-f", "-", stdin=spoiled)
        assert 'unknown field "spec.updateStratgy"' in message

    def test_what_create_makes_is_there(self, own: World) -> None:
        for arguments in (
            "configmap c --from-literal=a=b",
            "secret generic s --from-literal=a=b",
            "namespace n",
            "service clusterip plain --tcp=80:8080",
            "service nodeport open --tcp=80:8080",
            "serviceaccount a",
            "role r --verb=get --resource=pods",
            "rolebinding b --role=r --user=bob",
            "clusterrole r --verb=get --resource=nodes",
            "clusterrolebinding b --clusterrole=r --user=bob",
            "pdb p --selector=app=x --min-available=1",
            "job once --image=job:1 -- true",
            "deployment d --image=d:1",
            "cronjob k --image=k:1 --schedule=@daily",
            "quota q --hard=pods=10",
            "ingress i --rule=host/path=plain:80",
            "priorityclass p --value=10",
        ):
            assert ok(own, "create", *arguments.split()).out.endswith(" created\n")
        assert value(own, "svc/plain", "{.spec.ports[0].targetPort}") == "8080"
        assert 30_000 <= int(value(own, "svc/open", "{.spec.ports[0].nodePort}")) < 32_768
        assert ok(own, "auth", "can-i", "get", "pods", "--as", "bob").out == "yes\n"
        ok(own, "wait", "job/once", "--for=condition=complete", "--timeout=60s")
        assert value(own, "job/once", "{.status.succeeded}") == "1"
        assert "already exists" in refused(own, "create", "configmap", "c")


class TestEditing:
    """Objects change under kubectl's hands."""

    def test_patches_of_all_types(self, own: World) -> None:
        image = "/spec/template/spec/containers/0/image"
        there = ("patch", DS, *THERE)
        operations = [{"op": "replace", "path": image, "value": "a:json"}]
        assert "patched\n" in ok(own, *there, "--type=json", "-p", json.dumps(operations)).out
        merge = '{"spec": {"minReadySeconds": 1}}'
        ok(own, *there, "--type=merge", "-p", merge)
        # kubectl compares whole objects: a status written in between would be a change.
        ok(own, "rollout", "status", DS, *THERE, "--timeout=60s")
        assert "patched (no change)" in ok(own, *there, "--type=merge", "-p", merge).out
        container: dict[str, Any] = {"name": "agent", "image": "a:strategic"}
        ok(own, *there, "-p", json.dumps(in_template(container)))
        assert value(own, DS, *THERE, "{.spec.minReadySeconds}") == "1"
        assert value(own, DS, *THERE, "{..containers[*].image}") == "a:strategic"
        missing = [{"op": "test", "path": image, "value": "a:none"}]
        assert "invalid" in refused(own, *there, "--type=json", "-p", json.dumps(missing))
        selector = '{"spec": {"selector": {"matchLabels": {"x": "y"}}}}'
        assert "field is immutable" in refused(own, *there, "-p", selector)

    def test_labels_and_annotations(self, own: World) -> None:
        node = "node/node-001"
        assert ok(own, "label", node, "pool=big").out == f"{node} labeled\n"
        assert "--overwrite is false" in refused(own, "label", node, "pool=small")
        ok(own, "label", node, "pool=small", "--overwrite")
        assert value(own, node, "{.metadata.labels.pool}") == "small"
        assert ok(own, "label", node, "pool-").out == f"{node} unlabeled\n"
        assert ok(own, "annotate", node, "a=b").out == f"{node} annotated\n"

    def test_a_taint_moves_pods_away_and_its_end_brings_them_back(self, own: World) -> None:
        old = pod_on(own, "node-001")
        assert ok(own, "taint", "node", "node-001", "k=v:NoExecute").out == (
            "node/node-001 tainted\n"
        )
        assert "already has k taint" in refused(own, "taint", "node", "node-001", "k=v:NoExecute")
        ok(own, "wait", *THERE, old, "--for=delete", "--timeout=60s")
        desired = "--for=jsonpath={.status.desiredNumberScheduled}"
        ok(own, "wait", DS, *THERE, f"{desired}=2", "--timeout=60s")
        assert pod_on(own, "node-001") == ""
        ok(own, "taint", "node", "node-001", "k-")
        ok(own, "wait", DS, *THERE, "--for=jsonpath={.status.numberReady}=3", "--timeout=60s")
        assert pod_on(own, "node-001") not in ("", old)

    def test_cordon_drain_and_uncordon(self, own: World) -> None:
        daemon = pod_on(own, "node-002")
        overrides = json.dumps({"spec": {"nodeName": "node-002"}})
        ok(own, "run", "lonely", "--image=lonely:1", f"--overrides={overrides}")
        ok(own, "wait", "pod/lonely", "--for=condition=Ready", "--timeout=60s")
        assert ok(own, "cordon", "node-002").out == "node/node-002 cordoned\n"
        row = table(ok(own, "get", "node", "node-002"))[1]
        assert row[1] == "Ready,SchedulingDisabled"
        message = refused(own, "drain", "node-002")
        assert "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)" in message
        there = ("drain", "node-002", "--ignore-daemonsets")
        assert "Pods that declare no controller (use --force" in refused(own, *there)
        drained = ok(own, *there, "--force")
        assert "evicting pod default/lonely" in drained.out + drained.err
        assert drained.out.endswith("node/node-002 drained\n")
        assert "NotFound" in refused(own, "get", "pod", "lonely")
        assert pod_on(own, "node-002") == daemon
        assert ok(own, "uncordon", "node-002").out == "node/node-002 uncordoned\n"

    def test_a_budget_forbids_evictions(self, own: World) -> None:
        overrides = json.dumps({"spec": {"nodeName": "node-000"}})
        ok(own, "run", "kept", "--image=kept:1", "--labels=app=kept", f"--overrides={overrides}")
        ok(own, "wait", "pod/kept", "--for=condition=Ready", "--timeout=60s")
        ok(own, "create", "pdb", "kept", "--selector=app=kept", "--min-available=1")
        ok(own, "wait", "pdb/kept", "--for=jsonpath={.status.currentHealthy}=1", "--timeout=60s")
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "kept"}}
        path = "/api/v1/namespaces/default/pods/kept/eviction"
        message = refused(own, "create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
        assert "Cannot evict pod as it would violate the pod's disruption budget" in message
        ok(own, "delete", "pdb", "kept")
        drained = ok(own, "drain", "node-000", "--ignore-daemonsets", "--force").out
        assert "pod/kept evicted" in drained

    def test_a_deleted_pod_is_replaced_while_a_watch_looks_on(self, own: World) -> None:
        old = pod_on(own, "node-000").removeprefix("pod/")
        selector = ("--field-selector", "spec.nodeName=node-000")
        with watching(own, "pods", *THERE, *selector) as watch:
            watch.until("NAME", "READY", "STATUS", "RESTARTS", "AGE")
            watch.until(old, "1/1", "Running")
            assert f'pod "{old}" deleted' in ok(own, "delete", "pod", old, *THERE).out
            watch.until(old, "Terminating")
            new = watch.until("ContainerCreating")[0]
            watch.until(new, "1/1", "Running")
        assert pod_on(own, "node-000") == f"pod/{new}"

    def test_orphans_are_adopted_again(self, own: World) -> None:
        ok(own, "apply", "-f", "-", stdin=EDGE)
        ok(own, "rollout", "status", "ds/edge", "-n", "web", "--timeout=60s")
        before = value(own, "pods", "-n", "web", "{.items[*].metadata.name}")
        ok(own, "delete", "ds/edge", "-n", "web", "--cascade=orphan")
        assert value(own, "pods", "-n", "web", "{.items[*].metadata.ownerReferences}") == ""
        ok(own, "apply", "-f", "-", stdin=EDGE)
        ready = "--for=jsonpath={.status.numberAvailable}=3"
        ok(own, "wait", "ds/edge", "-n", "web", ready, "--timeout=60s")
        assert value(own, "pods", "-n", "web", "{.items[*].metadata.name}") == before
        ok(own, "delete", "ds/edge", "-n", "web", "--cascade=foreground")
        assert ok(own, "get", "pods", "-n", "web", "-o", "name").out == ""

    def test_a_namespace_goes_with_all_that_is_in_it(self, own: World) -> None:
        ok(own, "apply", "-f", "-", stdin=EDGE)
        assert 'namespace "web" deleted' in ok(own, "delete", "namespace", "web").out
        assert "NotFound" in refused(own, "get", "namespace", "web")
        assert ok(own, "get", "all,cm,pdb,netpol", "-n", "web", "-o", "name").out == ""

    def test_nodes_leave_and_join(self, own: World) -> None:
        ok(own, "delete", "node", "node-001")
        assert [row[0] for row in table(ok(own, "get", "nodes"))[1:]] == ["node-000", "node-002"]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-new"}}
        ok(own, "create", "-f", "-", stdin=json.dumps(node))
        ok(own, "wait", "node/node-new", "--for=condition=Ready", "--timeout=60s")
        selector = ("--field-selector", "spec.nodeName=node-new")
        with watching(own, "pods", *THERE, *selector) as watch:
            watch.until("1/1", "Running")


class TestRollouts:
    """`kubectl rollout` with outcomes that can be seen in the pods."""

    def test_status_history_undo_and_restart(self, own: World) -> None:
        own.break_image(NEW, Fault(FaultKind.NEVER_READY))
        ok(own, "set", "image", DS, f"agent={NEW}", *THERE)
        with told_by(own, "rollout", "status", DS, *THERE, "--timeout=60s") as told:
            told.until("Waiting", "rollout", "finish:")
            own.break_image(NEW, None)
            told.until("successfully", "rolled", "out")
        assert images(own) == {NEW}
        assert revisions(own) == ["1", "2"]
        assert f"Image:\t{OLD}" in ok(own, "rollout", "history", DS, *THERE, "--revision=1").out

        assert ok(own, "rollout", "undo", DS, *THERE).out == f"daemonset.apps/{NAME} rolled back\n"
        ok(own, "rollout", "status", DS, *THERE, "--timeout=60s")
        assert images(own) == {OLD}
        assert revisions(own) == ["2", "3"]

        before = ok(own, "get", "pods", *THERE, "-o", "name").out
        assert ok(own, "rollout", "restart", DS, *THERE).out == f"daemonset.apps/{NAME} restarted\n"
        ok(own, "rollout", "status", DS, *THERE, "--timeout=60s")
        assert not set(before.split()) & set(
            ok(own, "get", "pods", *THERE, "-o", "name").out.split()
        )
        assert images(own) == {OLD}
        assert revisions(own) == ["2", "3", "4"]

        ok(own, "rollout", "undo", DS, *THERE, "--to-revision=2")
        ok(own, "rollout", "status", DS, *THERE, "--timeout=60s")
        assert images(own) == {NEW}
        there = ("rollout", "undo", DS, *THERE)
        assert "unable to find specified revision 99" in refused(own, *there, "--to-revision=99")
        assert "pausing is not supported" in refused(own, "rollout", "pause", DS, *THERE)

    def test_the_cause_of_a_change_is_in_the_history(self, own: World) -> None:
        note = f"kubernetes.io/change-cause=to {NEW}"
        ok(own, "annotate", DS, *THERE, note)
        ok(own, "set", "image", DS, f"agent={NEW}", *THERE)
        ok(own, "rollout", "status", DS, *THERE, "--timeout=60s")
        assert f"2         to {NEW}" in ok(own, "rollout", "history", DS, *THERE).out

    def test_events_and_logs_tell_what_happened(self, own: World) -> None:
        ok(own, "delete", *THERE, pod_on(own, "node-000"))
        with watching(own, "pods", *THERE, "--field-selector", "spec.nodeName=node-000") as watch:
            watch.until("1/1", "Running")
        pod = pod_on(own, "node-000")
        told = ok(own, "events", *THERE, "--for", pod).out
        for reason in ("Scheduled", "Pulled", "Created", "Started"):
            assert reason in told
        selector = "reason=SuccessfulCreate,involvedObject.kind=DaemonSet"
        events = ok(own, "get", "events", *THERE, "--field-selector", selector)
        assert f"Created pod: {pod.removeprefix('pod/')}" in events.out
        assert "SuccessfulCreate" in ok(own, "describe", DS, *THERE).out
        assert ok(own, "logs", *THERE, pod).code == 0
        assert "previous terminated container" in refused(own, "logs", *THERE, pod, "--previous")

    def test_on_delete_waits_for_somebody(self, own: World) -> None:
        strategy = '{"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}'
        ok(own, "patch", DS, *THERE, "--type=merge", "-p", strategy)
        ok(own, "set", "image", DS, f"agent={NEW}", *THERE)
        message = refused(own, "rollout", "status", DS, *THERE)
        assert "only available for RollingUpdate strategy type" in message
        ok(own, "delete", *THERE, pod_on(own, "node-001"))
        updated = "--for=jsonpath={.status.updatedNumberScheduled}=1"
        ok(own, "wait", DS, *THERE, updated, "--timeout=60s")
        assert images(own) == {OLD, NEW}


def in_template(container: dict[str, Any]) -> dict[str, Any]:
    """Return a patch that changes one container of the template."""
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def revisions(on: World) -> list[str]:
    """Return the numbers that `rollout history` shows."""
    return [row[0] for row in table(ok(on, "rollout", "history", DS, *THERE))[2:] if row]
