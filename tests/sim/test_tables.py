from __future__ import annotations

from typing import Any

import pytest

from rollout.sim import tables, timestamps
from rollout.sim.durations import human_duration
from rollout.sim.podrow import pod_cells
from rollout.sim.resources import DAEMONSETS, DEPLOYMENTS, NODES, PODS, RESOURCES
from rollout.sim.tablerows import cells
from tests.sim.recorded import answer, items

CREATED = "2026-11-23T17:24:55Z"
NOW = timestamps.parse("2026-11-23T17:24:58Z")


def test_nodes_as_recorded() -> None:
    recorded = answer("02", "nodes as table")
    nodes = [
        answer("02", name)
        for name in ("node status merge patch", "create node n1", "create node n2", "uncordon")
    ]
    now = timestamps.parse(CREATED)
    table = tables.to_table(NODES, nodes, list_meta=recorded["metadata"], now=now)
    assert table == recorded


def test_daemonsets_as_recorded() -> None:
    recorded = answer("03", "daemonsets as table")
    rows = [answer("03", "get when available")]
    assert tables.to_table(DAEMONSETS, rows, list_meta=recorded["metadata"], now=NOW) == recorded


def test_pods_as_recorded() -> None:
    recorded = answer("03", "pods as table")
    pods = items("03", "list pods of a node")
    table = tables.to_table(PODS, pods, list_meta=recorded["metadata"], now=NOW)
    assert table["columnDefinitions"] == recorded["columnDefinitions"]
    assert table["rows"] == [
        row for row in recorded["rows"] if row["cells"][0] == pods[0]["metadata"]["name"]
    ]


def test_metadata_only_as_recorded() -> None:
    recorded = answer("02", "nodes metadata only")["items"]
    assert tables.to_partial(answer("02", "node status merge patch")) == recorded[0]


def test_rows_carry_what_was_asked_for() -> None:
    node = answer("02", "create node n0")
    rows = {
        include: tables.to_table(NODES, [node], list_meta={}, now=NOW, include_object=include)[
            "rows"
        ][0].get("object")
        for include in ("None", "Metadata", "Object")
    }
    assert rows["None"] is None
    assert rows["Metadata"]["kind"] == "PartialObjectMetadata"
    assert rows["Object"] is node


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.group_resource)
def test_every_kind_has_as_many_cells_as_columns(resource: Any) -> None:
    obj = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"name": "x", "creationTimestamp": CREATED},
    }
    table = tables.to_table(resource, [obj], list_meta={}, now=NOW)
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


def test_other_kinds_have_a_name_and_a_date() -> None:
    obj = {"metadata": {"name": "d", "creationTimestamp": CREATED}}
    table = tables.to_table(DEPLOYMENTS, [obj], list_meta={}, now=NOW)
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Created At"]
    assert table["rows"][0]["cells"] == ["d", CREATED]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.2, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (4 * 3600 + 120, "4h2m"),
        (8 * 3600 + 120, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (8 * 86400 + 3600, "8d"),
        (700 * 86400, "700d"),
        (731 * 86400, "2y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_durations_are_kubectls(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


# Pods


def pod(status: dict[str, Any], spec: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "creationTimestamp": CREATED, **meta},
        "spec": spec or {"containers": [{"name": "a"}]},
        "status": status,
    }


def container(name: str = "a", *, ready: bool = False, restarts: int = 0, **rest: Any) -> Any:
    return {"name": name, "ready": ready, "restartCount": restarts, **rest}


def shown(status: dict[str, Any], spec: dict[str, Any] | None = None, **meta: Any) -> list[str]:
    return pod_cells(pod(status, spec, **meta), NOW)[1:4]


RUNNING: dict[str, Any] = {"running": {}}
ENDED = {"terminated": {"exitCode": 1, "finishedAt": "2026-11-23T17:24:53Z", "reason": "Error"}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Pending"}, ["0/1", "Pending", "0"]),
        (
            {"phase": "Pending", "containerStatuses": [
                container(state={"waiting": {"reason": "ContainerCreating"}})
            ]},
            ["0/1", "ContainerCreating", "0"],
        ),
        (
            {"phase": "Running", "containerStatuses": [container(ready=True, state=RUNNING)]},
            ["1/1", "Running", "0"],
        ),
        (
            {"phase": "Running", "containerStatuses": [
                container(
                    restarts=3,
                    state={"waiting": {"reason": "CrashLoopBackOff"}},
                    lastState=ENDED,
                )
            ]},
            ["0/1", "CrashLoopBackOff", "3 (5s ago)"],
        ),
        (
            {"phase": "Failed", "reason": "Evicted"},
            ["0/1", "Evicted", "0"],
        ),
        (
            {"phase": "Failed", "containerStatuses": [container(state=ENDED)]},
            ["0/1", "Error", "0"],
        ),
        (
            {"phase": "Failed", "containerStatuses": [
                container(state={"terminated": {"exitCode": 7}})
            ]},
            ["0/1", "ExitCode:7", "0"],
        ),
        (
            {"phase": "Failed", "containerStatuses": [
                container(state={"terminated": {"exitCode": 137, "signal": 9}})
            ]},
            ["0/1", "Signal:9", "0"],
        ),
        (
            {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
            ]},
            ["0/1", "SchedulingGated", "0"],
        ),
    ],
)  # fmt: skip
def test_status_of_a_pod(status: dict[str, Any], expected: list[str]) -> None:
    assert shown(status) == expected


def test_a_pod_on_its_way_out_is_terminating_unless_it_has_ended() -> None:
    assert shown({"phase": "Running"}, deletionTimestamp=CREATED)[1] == "Terminating"
    assert shown({"phase": "Failed"}, deletionTimestamp=CREATED)[1] == "Failed"
    lost = {"phase": "Running", "reason": "NodeLost"}
    assert shown(lost, deletionTimestamp=CREATED)[1] == "Unknown"


INIT = {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]}


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ({"running": {}}, "Init:0/2"),
        ({"waiting": {"reason": "PodInitializing"}}, "Init:0/2"),
        ({"waiting": {"reason": "ErrImagePull"}}, "Init:ErrImagePull"),
        ({"terminated": {"exitCode": 2}}, "Init:ExitCode:2"),
        ({"terminated": {"exitCode": 2, "reason": "Error"}}, "Init:Error"),
        ({"terminated": {"exitCode": 0}}, "Init:1/2"),
    ],
)
def test_initialisation(first: dict[str, Any], expected: str) -> None:
    statuses = [container("i", state=first), container("j", state={"waiting": {}})]
    assert shown({"phase": "Pending", "initContainerStatuses": statuses}, INIT)[1] == expected


def test_a_sidecar_counts_among_the_containers() -> None:
    spec = {
        "containers": [{"name": "a"}],
        "initContainers": [{"name": "side", "restartPolicy": "Always"}],
    }
    status = {
        "phase": "Running",
        "initContainerStatuses": [container("side", ready=True, started=True, state=RUNNING)],
        "containerStatuses": [container(ready=True, state=RUNNING)],
    }
    assert shown(status, spec) == ["2/2", "Running", "0"]


def test_wide_columns_of_a_pod() -> None:
    spec = {"containers": [], "nodeName": "n1", "readinessGates": [{"conditionType": "x"}]}
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "nominatedNodeName": "n2"}
    assert pod_cells(pod(status, spec), NOW)[4:] == ["3s", "10.0.0.1", "n1", "n2", "0/1"]


def test_ended_pods_say_so_in_the_rows_conditions() -> None:
    row = tables.to_table(PODS, [pod({"phase": "Succeeded"})], list_meta={}, now=NOW)["rows"][0]
    assert row["conditions"] == [
        {
            "type": "Completed",
            "status": "True",
            "reason": "Succeeded",
            "message": "The pod has completed successfully.",
        }
    ]


# Other kinds


def named(**fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x", "creationTimestamp": CREATED}, **fields}


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        ("ConfigMap", named(data={"a": ""}, binaryData={"b": ""}), ["x", 2, "3s"]),
        ("Secret", named(type="Opaque", data={"a": ""}), ["x", "Opaque", 1, "3s"]),
        ("ServiceAccount", named(), ["x", 0, "3s"]),
        ("Namespace", named(status={"phase": "Active"}), ["x", "Active", "3s"]),
        ("Lease", named(spec={"holderIdentity": "me"}), ["x", "me", "3s"]),
        (
            "PodDisruptionBudget",
            named(spec={"minAvailable": 4}, status={"disruptionsAllowed": 1}),
            ["x", "4", "N/A", 1, "3s"],
        ),
        (
            "Service",
            named(
                spec={
                    "type": "NodePort",
                    "clusterIP": "10.0.0.1",
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
                    "selector": {"b": "2", "a": "1"},
                }
            ),
            ["x", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP", "3s", "a=1,b=2"],
        ),
        (
            "Job",
            named(
                spec={"completions": 2, "template": {}},
                status={
                    "succeeded": 1,
                    "startTime": CREATED,
                    "conditions": [{"type": "Failed", "status": "True"}],
                },
            ),
            ["x", "Failed", "1/2", "3s", "3s", "", "", "<none>"],
        ),
        (
            "RoleBinding",
            named(
                roleRef={"kind": "Role", "name": "r"},
                subjects=[
                    {"kind": "User", "name": "u"},
                    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
                ],
            ),
            ["x", "Role/r", "3s", "u", "", "n/s"],
        ),
        (
            "Event",
            named(
                lastTimestamp=CREATED,
                firstTimestamp="2026-11-23T17:24:00Z",
                type="Normal",
                reason="SuccessfulCreate",
                message="Created pod: p ",
                count=2,
                source={"component": "daemonset-controller"},
                involvedObject={"kind": "DaemonSet", "name": "agent"},
            ),
            [
                "3s",
                "Normal",
                "SuccessfulCreate",
                "daemonset/agent",
                "",
                "daemonset-controller",
                "Created pod: p",
                "58s",
                2,
                "x",
            ],
        ),
    ],
)
def test_cells(kind: str, obj: dict[str, Any], expected: list[Any]) -> None:
    assert cells(kind, obj, NOW) == expected


def test_a_revision_names_its_controller() -> None:
    (revision,) = items("03", "revisions after create")
    assert cells("ControllerRevision", revision, NOW)[1:3] == ["daemonset.apps/agent", 1]


def test_a_cordoned_node_with_roles_and_addresses() -> None:
    node = {
        "metadata": {
            "name": "n",
            "creationTimestamp": CREATED,
            "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Linux"},
        },
    }
    assert cells("Node", node, NOW)[1:8] == [
        "NotReady,SchedulingDisabled",
        "edge,worker",
        "3s",
        "v1.36.0",
        "10.0.0.1",
        "<none>",
        "Linux",
    ]


def test_the_selector_of_a_daemonset_is_written_as_a_query() -> None:
    selector = {
        "matchLabels": {"app": "a"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["y", "x"]},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }
    row = cells("DaemonSet", named(spec={"selector": selector}), NOW)
    assert row[-1] == "app=a,!old,tier in (x,y)"
