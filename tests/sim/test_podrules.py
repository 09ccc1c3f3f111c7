from __future__ import annotations

import copy
from typing import Any

import pytest

from rollout.sim import decoding, defaults, podrules, validation
from rollout.sim.resources import PODS

PORTS = "must be between 1 and 65535, inclusive"


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "a:1", **(container or {})}]
    body = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": containers, **spec},
    }
    return defaults.with_defaults(PODS, decoding.decode(PODS, body)[0])


def complaints(made: dict[str, Any]) -> list[tuple[str, str]]:
    causes = validation.validate_create(PODS, made)
    return [(cause.field.removeprefix("spec."), cause.message) for cause in causes]


def test_a_plain_pod_is_fine() -> None:
    assert complaints(pod()) == []


def test_containers_are_required_and_named_once() -> None:
    assert complaints(pod(containers=[])) == [("containers", "Required value")]
    twice = [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]
    assert complaints(pod(containers=twice)) == [("containers[1].name", 'Duplicate value: "a"')]


CONTAINERS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "Required value"),
    (
        {"name": "A_b"},
        "name",
        (
            'Invalid value: "A_b": a lowercase RFC 1123 label must consist of lower case '
            "alphanumeric characters or '-', and must start and end with an alphanumeric character "
            "(e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ),
    ),
    ({"name": "a.b"}, "name", 'Invalid value: "a.b": must not contain dots'),
    ({"image": ""}, "image", "Required value"),
    (
        {"image": " x"},
        "image",
        'Invalid value: " x": must not have leading or trailing whitespace',
    ),
    (
        {"imagePullPolicy": "Sometimes"},
        "imagePullPolicy",
        'Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
    ),
    (
        {"ports": [{"containerPort": 70000}]},
        "ports[0].containerPort",
        f"Invalid value: 70000: {PORTS}",
    ),
    ({"ports": [{"hostPort": 80}]}, "ports[0].containerPort", "Required value"),
    (
        {"ports": [{"containerPort": 80, "protocol": "ICMP"}]},
        "ports[0].protocol",
        'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        {"ports": [{"containerPort": 80, "name": "80"}]},
        "ports[0].name",
        'Invalid value: "80": must contain at least one letter (a-z)',
    ),
    (
        {"ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}]},
        "ports[1].name",
        'Duplicate value: "x"',
    ),
    (
        {"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]},
        "ports[1].hostPort",
        'Duplicate value: "TCP//9"',
    ),
    ({"env": [{"name": ""}]}, "env[0].name", "Required value"),
    (
        {"env": [{"name": "A=B"}]},
        "env[0].name",
        (
            'Invalid value: "A=B": a valid environment variable name must consist only of '
            "printable ASCII characters other than '='"
        ),
    ),
    (
        {"env": [{"name": "A", "valueFrom": {}}]},
        "env[0].valueFrom",
        (
            'Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, '
            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        ),
    ),
    (
        {"envFrom": [{}]},
        "envFrom[0]",
        'Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
    ),
    (
        {"volumeMounts": [{"name": "nope", "mountPath": "/x"}]},
        "volumeMounts[0].name",
        'Not found: "nope"',
    ),
    (
        {"readinessProbe": {"periodSeconds": 5}},
        "readinessProbe",
        "Required value: must specify a handler type",
    ),
    (
        {"readinessProbe": {"httpGet": {"port": 0}}},
        "readinessProbe.httpGet.port",
        f"Invalid value: 0: {PORTS}",
    ),
    (
        {"livenessProbe": {"exec": {"command": ["x"]}, "successThreshold": 2}},
        "livenessProbe.successThreshold",
        "Invalid value: 2: must be 1",
    ),
    (
        {"readinessProbe": {"exec": {}, "tcpSocket": {"port": 1}}},
        "readinessProbe.exec.command",
        "Required value",
    ),
    (
        {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
        "resources.requests",
        'Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        {"resources": {"requests": {"cpu": "-1"}}},
        "resources.requests[cpu]",
        'Invalid value: "-1": must be greater than or equal to 0',
    ),
    (
        {"resources": {"requests": {"gpu": "1"}}},
        "resources.requests[gpu]",
        'Invalid value: "gpu": must be a standard resource type or fully qualified',
    ),
]


@pytest.mark.parametrize(("container", "field", "message"), CONTAINERS)
def test_containers(container: dict[str, Any], field: str, message: str) -> None:
    assert (f"containers[0].{field}", message) in complaints(pod(container))


def test_init_containers_have_no_probes_and_no_name_of_a_container() -> None:
    probe = {"exec": {"command": ["x"]}}
    init = [{"name": "a", "image": "x", "readinessProbe": probe}]
    assert complaints(pod(initContainers=init)) == [
        (
            "initContainers[0].readinessProbe",
            "Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        ("initContainers[0].name", 'Duplicate value: "a"'),
    ]


def test_mounts_name_volumes_and_are_unique() -> None:
    mounts = [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]
    assert complaints(pod({"volumeMounts": mounts}, volumes=[{"name": "v"}])) == [
        ("containers[0].volumeMounts[1].mountPath", 'Invalid value: "/x": must be unique')
    ]


MORE: list[tuple[dict[str, Any], str, str]] = [
    (
        {"ports": [{"containerPort": 1, "hostPort": 70000}]},
        "ports[0].hostPort",
        f"Invalid value: 70000: {PORTS}",
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
        "env[0].valueFrom.fieldRef.fieldPath",
        (
            'Unsupported value: "spec.x": supported values: "metadata.name", "metadata.namespace", '
            '"metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", '
            '"status.hostIPs", "status.podIP", "status.podIPs"'
        ),
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]},
        "env[0].valueFrom.fieldRef.fieldPath",
        "Required value",
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]},
        "env[0].valueFrom.secretKeyRef.key",
        "Required value",
    ),
    (
        {"env": [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"key": "k"}}}]},
        "env[0].valueFrom",
        'Invalid value: "": may not be specified when `value` is not empty',
    ),
    (
        {
            "env": [
                {
                    "name": "A",
                    "valueFrom": {"secretKeyRef": {"key": "k"}, "configMapKeyRef": {"key": "k"}},
                }
            ]
        },
        "env[0].valueFrom",
        'Invalid value: "": may not have more than one field specified at a time',
    ),
    ({"envFrom": [{"secretRef": {}}]}, "envFrom[0].secretRef.name", "Required value"),
    (
        {"envFrom": [{"secretRef": {"name": "s"}, "configMapRef": {"name": "c"}}]},
        "envFrom[0]",
        'Invalid value: "": may not have more than one field specified at a time',
    ),
    ({"volumeMounts": [{"mountPath": "/x"}]}, "volumeMounts[0].name", "Required value"),
    ({"volumeMounts": [{"name": "v"}]}, "volumeMounts[0].mountPath", "Required value"),
    (
        {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "/y"}]},
        "volumeMounts[0].subPath",
        'Invalid value: "/y": must be a relative path',
    ),
    (
        {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "y", "subPathExpr": "z"}]},
        "volumeMounts[0].subPathExpr",
        'Invalid value: "z": subPathExpr and subPath are mutually exclusive',
    ),
    (
        {"volumeMounts": [{"name": "v", "mountPath": "/x", "mountPropagation": "Up"}]},
        "volumeMounts[0].mountPropagation",
        'Unsupported value: "Up": supported values: "Bidirectional", "HostToContainer", "None"',
    ),
    (
        {"lifecycle": {"preStop": {}}},
        "lifecycle.preStop",
        "Required value: must specify a handler type",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 0}},
        "livenessProbe.terminationGracePeriodSeconds",
        "Invalid value: 0: must be greater than 0",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["x"]}}},
        "livenessProbe.tcpSocket",
        "Forbidden: may not specify more than 1 handler type",
    ),
    (
        {"livenessProbe": {"tcpSocket": {"port": "no port"}}},
        "livenessProbe.tcpSocket.port",
        (
            'Invalid value: "no port": must contain only alpha-numeric characters (a-z, 0-9), and '
            "hyphens (-)"
        ),
    ),
]


@pytest.mark.parametrize(("container", "field", "message"), MORE)
def test_environment_mounts_and_probes(container: dict[str, Any], field: str, message: str) -> None:
    made = pod(container, volumes=[{"name": "v"}])
    assert (f"containers[0].{field}", message) in complaints(made)


VOLUMES: list[tuple[list[dict[str, Any]], str, str]] = [
    ([{"name": "v"}, {"name": "v"}], "volumes[1].name", 'Duplicate value: "v"'),
    ([{"name": ""}], "volumes[0].name", "Required value"),
    (
        [{"name": "v", "hostPath": {"path": "/x"}, "emptyDir": {}}],
        "volumes[0].emptyDir",
        "Forbidden: may not specify more than 1 volume type",
    ),
    ([{"name": "v", "hostPath": {}}], "volumes[0].hostPath.path", "Required value"),
    (
        [{"name": "v", "hostPath": {"path": "/a/../b"}}],
        "volumes[0].hostPath.path",
        "Invalid value: \"/a/../b\": must not contain '..'",
    ),
    ([{"name": "v", "secret": {}}], "volumes[0].secret.secretName", "Required value"),
    (
        [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/x"}]}}],
        "volumes[0].configMap.items[0].path",
        'Invalid value: "/x": must be a relative path',
    ),
]


@pytest.mark.parametrize(("volumes", "field", "message"), VOLUMES)
def test_volumes(volumes: list[dict[str, Any]], field: str, message: str) -> None:
    assert (field, message) in complaints(pod(volumes=volumes))


TOLERATIONS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"operator": "Equal", "value": "x"},
        "operator",
        (
            'Invalid value: "Equal": operator must be Exists when `key` is empty, which means '
            '"match all values and all keys"'
        ),
    ),
    (
        {"key": "a", "operator": "Like"},
        "operator",
        'Unsupported value: "Like": supported values: "Equal", "Exists"',
    ),
    (
        {"key": "a", "operator": "Exists", "value": "x"},
        "operator",
        (
            'Invalid value: {"Key":"a","Operator":"Exists","Value":"x","Effect":"",'
            "\"TolerationSeconds\":null}: value must be empty when `operator` is 'Exists'"
        ),
    ),
    (
        {"key": "a", "operator": "Exists", "effect": "Never"},
        "effect",
        (
            'Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", '
            '"NoExecute"'
        ),
    ),
    (
        {"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5},
        "effect",
        "Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
    ),
]


@pytest.mark.parametrize(("toleration", "field", "message"), TOLERATIONS)
def test_tolerations(toleration: dict[str, Any], field: str, message: str) -> None:
    assert complaints(pod(tolerations=[toleration])) == [(f"tolerations[0].{field}", message)]


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [*terms]}}
    return {"nodeAffinity": required}


TERMS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        "matchExpressions[0].values",
        "Required value: must be specified when `operator` is 'In' or 'NotIn'",
    ),
    (
        {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]},
        "matchExpressions[0].values",
        "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
    ),
    (
        {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}]},
        "matchExpressions[0].values",
        "Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
    ),
    (
        {"matchExpressions": [{"key": "a", "operator": "Near"}]},
        "matchExpressions[0].operator",
        'Invalid value: "Near": not a valid selector operator',
    ),
    (
        {"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["x"]}]},
        "matchFields[0].key",
        'Invalid value: "metadata.uid": not a valid field selector key',
    ),
    (
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x", "y"]}]},
        "matchFields[0].values",
        (
            "Required value: must be only one value when `operator` is 'In' or 'NotIn' for node "
            "field selector"
        ),
    ),
]


@pytest.mark.parametrize(("term", "field", "message"), TERMS)
def test_node_affinity(term: dict[str, Any], field: str, message: str) -> None:
    at = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    assert complaints(pod(affinity=affinity(term))) == [(f"{at}[0].{field}", message)]


def test_node_affinity_needs_a_term() -> None:
    ((field, message),) = complaints(pod(affinity=affinity()))
    assert field.endswith("nodeSelectorTerms")
    assert message == "Required value: must have at least one node selector term"


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
PLACEMENT: list[tuple[dict[str, Any], str, str]] = [
    (
        {"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": {}}]}}},
        f"affinity.nodeAffinity.{PREFERRED}[0].weight",
        "Invalid value: 101: must be in the range 1-100",
    ),
    (
        {"affinity": {"podAffinity": {REQUIRED: [{}]}}},
        f"affinity.podAffinity.{REQUIRED}[0].topologyKey",
        "Required value: can not be empty",
    ),
    (
        {"affinity": {"podAntiAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": {}}]}}},
        f"affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.topologyKey",
        "Required value: can not be empty",
    ),
    (
        {"topologySpreadConstraints": [{"topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
        "topologySpreadConstraints[0].maxSkew",
        "Invalid value: 0: must be greater than zero",
    ),
    (
        {"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "Cry"}]},
        "topologySpreadConstraints[0].whenUnsatisfiable",
        'Unsupported value: "Cry": supported values: "DoNotSchedule", "ScheduleAnyway"',
    ),
    (
        {"volumes": [{"name": "v", "hostPath": {"path": "/x", "type": "Door"}}]},
        "volumes[0].hostPath.type",
        (
            'Unsupported value: "Door": supported values: "", "BlockDevice", "CharDevice", '
            '"Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"'
        ),
    ),
    (
        {"volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "k"}]}}]},
        "volumes[0].secret.items[0].path",
        "Required value",
    ),
]


@pytest.mark.parametrize(("spec", "field", "message"), PLACEMENT)
def test_placement_and_files(spec: dict[str, Any], field: str, message: str) -> None:
    assert (field, message) in complaints(pod(**spec))


def test_a_node_name_in_an_affinity_is_a_name() -> None:
    wanted = {"key": "metadata.name", "operator": "In", "values": ["Not A Node"]}
    ((field, _),) = complaints(pod(affinity=affinity({"matchFields": [wanted]})))
    assert field.endswith("matchFields[0].values[0]")


def test_ephemeral_containers_are_no_part_of_a_template() -> None:
    spec = {**pod()["spec"], "ephemeralContainers": [{"name": "d", "image": "x"}]}
    (cause,) = podrules.check_template({"spec": spec}, "spec.template")
    assert cause.message == "Forbidden: ephemeral containers not allowed in pod template"


def test_the_rest_of_a_spec() -> None:
    made = pod(
        restartPolicy="Maybe",
        dnsPolicy="None of it",
        nodeName="Not A Node",
        nodeSelector={"bad key": "x"},
        activeDeadlineSeconds=0,
    )
    fields = [field for field, _ in complaints(made)]
    assert fields == [
        "restartPolicy",
        "dnsPolicy",
        "nodeSelector",
        "nodeName",
        "activeDeadlineSeconds",
    ]


def test_ports_on_the_nodes_network_must_be_the_containers() -> None:
    container = {"ports": [{"containerPort": 80, "hostPort": 81}]}
    assert complaints(pod(container, hostNetwork=True)) == [
        (
            "containers[0].ports[0].hostPort",
            "Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        )
    ]


def test_template_labels_are_named_without_metadata() -> None:
    template = {"metadata": {"labels": {"a": "b c"}}, "spec": pod()["spec"]}
    (cause,) = podrules.check_template(template, "spec.template")
    assert cause.field == "spec.template.labels"


# Updates


def update(**changes: Any) -> list[tuple[str, str]]:
    old = pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute"}])
    new = copy.deepcopy(old)
    new["spec"].update(changes)
    causes = validation.validate_update(PODS, new, old)
    return [(cause.field, cause.message.partition("\n")[0]) for cause in causes]


def test_images_and_added_tolerations_may_change() -> None:
    container = {**pod()["spec"]["containers"][0], "image": "a:2"}
    assert update(containers=[container]) == []
    kept = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    assert update(tolerations=[kept, {"key": "b", "operator": "Exists"}]) == []
    assert update(activeDeadlineSeconds=5) == []


def test_other_fields_may_not_change() -> None:
    ((field, message),) = update(nodeName="elsewhere")
    assert field == "spec"
    assert message.startswith(
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
        "additions to existing tolerations)"
    )


def test_deadlines_only_shrink() -> None:
    old = pod(activeDeadlineSeconds=5)
    new = copy.deepcopy(old)
    new["spec"]["activeDeadlineSeconds"] = 9
    (cause,) = validation.validate_update(PODS, new, old)
    assert cause.message == "Invalid value: 9: must be less than or equal to previous value"
    del new["spec"]["activeDeadlineSeconds"]
    (cause,) = validation.validate_update(PODS, new, old)
    assert cause.message == (
        "Invalid value: null: must not update from a positive integer to nil value"
    )


def test_containers_are_not_added() -> None:
    containers = [*pod()["spec"]["containers"], {"name": "b", "image": "b"}]
    assert ("spec.containers", "Forbidden: pod updates may not add or remove containers") in (
        update(containers=containers)
    )


def test_tolerations_are_not_taken_away() -> None:
    assert update(tolerations=[]) == [
        (
            "spec.tolerations",
            "Forbidden: existing toleration can not be modified except its tolerationSeconds",
        )
    ]
