from __future__ import annotations

from typing import Any

import pytest

from rollout.sim import decoding, defaults
from rollout.sim.resources import (
    BY_KIND,
    DAEMONSETS,
    EVENTS,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from tests.sim.recorded import answer, items, objects, request


def defaulted(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    return defaults.with_defaults(resource, decoding.decode(resource, body)[0])


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "a:1", **(container or {})}]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


def container(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = defaulted(PODS, pod(fields))["spec"]["containers"][0]
    return found


def volume(**source: Any) -> dict[str, Any]:
    found = defaulted(PODS, pod(volumes=[{"name": "v", **source}]))["spec"]["volumes"][0]
    return {name: part for name, part in found.items() if name != "name"}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("02", "create node n0"),
        ("03", "create with defaults"),
        ("03", "create, surge with hostPort (dry run)"),
        ("04", "create pdb"),
        ("05", "create configmap"),
        ("05", "create event"),
    ],
)
def test_recorded_creations_get_the_recorded_defaults(number: str, name: str) -> None:
    body, expected = request(number, name), answer(number, name)
    obj = defaulted(BY_KIND[body["apiVersion"], body["kind"]], body)
    del obj["metadata"], expected["metadata"]
    assert obj == expected


def test_what_a_real_server_answered_lacks_nothing_and_is_returned_as_it_is() -> None:
    for body in objects():
        resource = BY_KIND.get((body["apiVersion"], body["kind"]))
        if resource is not None:
            assert defaults.with_defaults(resource, body) is body


def test_a_pod_of_a_defaulted_template_shares_its_containers() -> None:
    template = answer("03", "create with defaults")["spec"]["template"]
    made = {**items("03", "pods after create, unscheduled")[0], "spec": dict(template["spec"])}
    made["spec"]["enableServiceLinks"] = True
    assert (
        defaults.with_defaults(PODS, made)["spec"]["containers"] is (template["spec"]["containers"])
    )


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("agent", "Always"),
        ("agent:latest", "Always"),
        ("agent:v1", "IfNotPresent"),
        ("registry:5000/agent", "Always"),
        ("registry:5000/agent:v1", "IfNotPresent"),
        ("agent@sha256:0123", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert container(image=image)["imagePullPolicy"] == policy


def test_an_object_begins_with_its_kind_whatever_its_defaults_add() -> None:
    """Items of lists are slices behind the kind."""
    event = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "type": "Warning"}
    found = defaults.with_defaults(EVENTS, event)
    assert list(found)[:3] == ["kind", "apiVersion", "metadata"]
    assert len(found) > len(event)


def test_a_given_value_wins() -> None:
    assert container(imagePullPolicy="Never")["imagePullPolicy"] == "Never"
    assert (
        defaulted(PODS, pod(terminationGracePeriodSeconds=0))["spec"][
            "terminationGracePeriodSeconds"
        ]
        == 0
    )


def test_probes() -> None:
    probe = container(readinessProbe={"httpGet": {"port": 80}, "periodSeconds": 3})
    assert probe["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 3,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert container(livenessProbe={"grpc": {"port": 5}})["livenessProbe"]["grpc"] == {
        "port": 5,
        "service": "",
    }


def test_environment_ports_and_hooks() -> None:
    full = container(
        env=[{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        ports=[{"containerPort": 80}],
        lifecycle={"preStop": {"httpGet": {"port": 80}}},
    )
    assert full["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert full["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert full["lifecycle"]["preStop"]["httpGet"]["scheme"] == "HTTP"


def test_requests_of_a_pod_default_to_its_limits_but_not_in_a_template() -> None:
    resources = {"limits": {"cpu": "1"}}
    assert container(resources=resources)["resources"] == {
        "limits": {"cpu": "1"},
        "requests": {"cpu": "1"},
    }
    template = {"spec": pod({"resources": resources})["spec"]}
    daemonset = defaulted(DAEMONSETS, {"spec": {"template": template}})
    assert daemonset["spec"]["template"]["spec"]["containers"][0]["resources"] == resources


def test_ports_on_the_nodes_network_are_the_containers_in_pods_only() -> None:
    spec = pod({"ports": [{"containerPort": 80}]}, hostNetwork=True)["spec"]
    ports = defaulted(PODS, {"spec": spec})["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    daemonset = defaulted(DAEMONSETS, {"spec": {"template": {"spec": spec}}})
    ports = daemonset["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 80, "protocol": "TCP"}]


def test_service_links_are_a_default_of_pods_only() -> None:
    assert defaulted(PODS, pod())["spec"]["enableServiceLinks"] is True
    daemonset = defaulted(DAEMONSETS, {"spec": {"template": pod()}})
    assert "enableServiceLinks" not in daemonset["spec"]["template"]["spec"]


def test_both_names_of_the_service_account_are_kept_equal() -> None:
    for field in ("serviceAccount", "serviceAccountName"):
        spec = defaulted(PODS, {"spec": {**pod()["spec"], field: "x"}})["spec"]
        assert (spec["serviceAccount"], spec["serviceAccountName"]) == ("x", "x")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"name": "c"}}, {"configMap": {"name": "c", "defaultMode": 420}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                    "defaultMode": 420,
                }
            },
        ),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "x"}}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "p", "fieldRef": {"fieldPath": "x", "apiVersion": "v1"}}],
                    "defaultMode": 420,
                }
            },
        ),
    ],
)
def test_volumes(source: dict[str, Any], expected: dict[str, Any]) -> None:
    assert volume(**source) == expected


def test_on_delete_has_no_rolling_limits() -> None:
    spec = {"updateStrategy": {"type": "OnDelete"}, "template": pod()}
    assert defaulted(DAEMONSETS, {"spec": spec})["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_rolling_limits_are_filled_one_by_one() -> None:
    spec = {"updateStrategy": {"rollingUpdate": {"maxSurge": 1}}, "template": pod()}
    assert defaulted(DAEMONSETS, {"spec": spec})["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1},
    }


def test_the_secret_texts_are_encoded() -> None:
    secret = defaulted(SECRETS, {"stringData": {"a": "abc"}, "data": {"b": "eA=="}})
    assert secret["data"] == {"a": "YWJj", "b": "eA=="}
    assert secret["type"] == "Opaque"
    assert "stringData" not in secret


def test_a_service_gets_an_address_that_follows_from_its_uid() -> None:
    body = {"metadata": {"uid": "u"}, "spec": {"ports": [{"port": 80}]}}
    spec = defaulted(SERVICES, body)["spec"]
    assert spec["clusterIP"].startswith("10.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    assert defaulted(SERVICES, body)["spec"] == spec


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_service_on_the_nodes_gets_its_ports(kind: str) -> None:
    ports = [{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 8, "nodePort": 30_001}]
    body = {"metadata": {"uid": "u"}, "spec": {"type": kind, "ports": ports}}
    given = [port["nodePort"] for port in defaulted(SERVICES, body)["spec"]["ports"]]
    assert given[2] == 30_001
    assert all(30_000 <= port < 32_768 for port in given)
    assert len(set(given)) == 3


def test_a_network_policy_is_of_the_types_that_its_rules_say() -> None:
    spec = {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}
    policy = defaulted(NETWORK_POLICIES, {"spec": spec})["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    both = defaulted(NETWORK_POLICIES, {"spec": {"podSelector": {}, "egress": [{}]}})["spec"]
    assert both["policyTypes"] == ["Ingress", "Egress"]


def test_the_rest() -> None:
    node = defaulted(NODES, {"status": {"capacity": {"cpu": "4"}}, "spec": {"podCIDR": "10/8"}})
    assert node["status"]["allocatable"] == {"cpu": "4"}
    assert node["spec"]["podCIDRs"] == ["10/8"]
    assert defaulted(NAMESPACES, {})["status"] == {"phase": "Active"}
    job = defaulted(JOBS, {"spec": {"template": pod()}})["spec"]
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (1, 1, 6)
    binding = {
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "u"}],
    }
    bound = defaulted(ROLE_BINDINGS, binding)
    assert bound["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
    assert bound["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"


def test_a_kind_without_description_is_left_alone() -> None:
    body = {"spec": {"replicas": 1}}
    assert defaults.with_defaults(STATEFUL_SETS, body) is body
