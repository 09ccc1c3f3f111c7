from __future__ import annotations

from typing import Any

import pytest

from rollout.sim import decoding, defaults, patches, validation
from rollout.sim.resources import (
    BY_KIND,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PDBS,
    ROLE_BINDINGS,
    ROLES,
    SECRETS,
    SERVICES,
    Resource,
)
from tests.sim.recorded import answer, objects

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
KEY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


MOST = "must be no more than {} bytes"
LONG_NAME = "a" * 254
LONG_VALUE = "x" * 64


def stored(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "x", **body.get("metadata", {})}
    if resource.namespaced:
        metadata["namespace"] = "default"
    decoded, _ = decoding.decode(resource, {**body, "metadata": metadata})
    return defaults.with_defaults(resource, decoded)


def complaints(resource: Resource, body: dict[str, Any]) -> list[tuple[str, str]]:
    causes = validation.validate_create(resource, stored(resource, body))
    return [(cause.field, cause.message) for cause in causes]


def changes(
    resource: Resource, old: dict[str, Any], patch: dict[str, Any]
) -> list[tuple[str, str]]:
    before = stored(resource, old)
    after = defaults.with_defaults(resource, patches.merge_patch(before, patch))
    causes = validation.validate_update(resource, after, before)
    return [(cause.field, cause.message) for cause in causes]


def test_everything_a_real_server_stored_is_valid() -> None:
    for body in objects():
        resource = BY_KIND.get((body["apiVersion"], body["kind"]))
        if resource is not None:
            assert validation.validate_create(resource, body) == []
            assert validation.validate_update(resource, dict(body), body) == []


def test_a_config_map_that_is_too_large_is_answered_as_recorded() -> None:
    big = stored(CONFIG_MAPS, {"metadata": {"name": "big"}, "data": {"a": "x" * (1024 * 1024 + 1)}})
    causes = validation.validate_create(CONFIG_MAPS, big)
    recorded = answer("05", "configmap too large")
    assert validation.invalid(CONFIG_MAPS, "big", causes).body() == recorded


METADATA: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"name": ""}, [("name", "Required value: name or generateName is required")]),
    ({"name": "A"}, [("name", f'Invalid value: "A": {SUBDOMAIN}')]),
    ({"name": LONG_NAME}, [("name", f'Invalid value: "{LONG_NAME}": {MOST.format(253)}')]),
    ({"generateName": "Bad-"}, [("generateName", f'Invalid value: "Bad-": {SUBDOMAIN}')]),
    ({"generateName": "good-"}, []),
    ({"labels": {"a": "b c"}}, [("labels", f'Invalid value: "b c": {VALUE}')]),
    (
        {"labels": {"a": LONG_VALUE}},
        [("labels", f'Invalid value: "{LONG_VALUE}": {MOST.format(63)}')],
    ),
    ({"labels": {"a b": ""}}, [("labels", f'Invalid value: "a b": name part {KEY}')]),
    (
        {"labels": {"/a": ""}},
        [("labels", 'Invalid value: "/a": prefix part must be non-empty')],
    ),
    (
        {"labels": {"a/b/c": ""}},
        [
            (
                "labels",
                (f'Invalid value: "a/b/c": a qualified name {KEY} with an optional DNS subdomain '
                "prefix and '/' (e.g. 'example.com/MyName')"),
            )
        ],
    ),
    ({"annotations": {"A/b": "any text"}}, []),  # prefixes of annotations are lowered first
    (
        {"annotations": {"a": "x" * (256 * 1024)}},
        [("annotations", "Too long: may not be more than 262144 bytes")],
    ),
    (
        {"finalizers": ["plain"]},
        [
            (
                "finalizers",
                (
                    'Invalid value: "plain": name is neither a standard finalizer name nor is it '
                    "fully qualified"
                ),
            )
        ],
    ),
    (
        {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]},
        [("ownerReferences[0].uid", 'Invalid value: "": must not be empty')],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("metadata", "expected"), METADATA)
def test_metadata(metadata: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = complaints(CONFIG_MAPS, {"metadata": metadata})
    assert found == [(f"metadata.{field}", message) for field, message in expected]


def test_the_namespace_belongs_to_namespaced_kinds_only() -> None:
    assert complaints(NODES, {"metadata": {"namespace": "x"}}) == [
        ("metadata.namespace", "Forbidden: not allowed on this type")
    ]


def test_two_controllers_are_refused() -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "uid": "u", "controller": True}
    owners = [{**owner, "name": "p"}, {**owner, "name": "q"}]
    ((field, message),) = complaints(CONFIG_MAPS, {"metadata": {"ownerReferences": owners}})
    assert field == "metadata.ownerReferences"
    assert message.endswith('Found "true" in references for Pod/p and Pod/q')


def test_causes_of_changed_metadata_are_there_twice_and_in_the_message_once() -> None:
    old = stored(CONFIG_MAPS, {})
    new = patches.merge_patch(old, {"metadata": {"labels": {"a": "b c"}}})
    causes = validation.validate_update(CONFIG_MAPS, new, old)
    assert len(causes) == 2
    error = validation.invalid(CONFIG_MAPS, "x", causes)
    assert error.message == (
        f'ConfigMap "x" is invalid: metadata.labels: Invalid value: "b c": {VALUE}'
    )


def test_no_finalizer_is_added_to_what_is_being_deleted() -> None:
    going = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}
    found = changes(CONFIG_MAPS, {"metadata": going}, {"metadata": {"finalizers": ["a/b", "c/d"]}})
    assert found[0] == (
        "metadata.finalizers",
        (
            "Forbidden: no new finalizers can be added if the object is being deleted, found new "
            'finalizers []string{"c/d"}'
        ),
    )


def taints(*given: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"taints": [*given]}}


JOB_POD = {"containers": [{"name": "a", "image": "x"}], "restartPolicy": "Never"}
JOB: dict[str, Any] = {"spec": {"template": {"spec": JOB_POD}}}
KINDS: list[tuple[Resource, dict[str, Any], list[tuple[str, str]]]] = [
    (NODES, taints({"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}), []),
    (
        NODES,
        taints(
            {"key": "a", "effect": "NoSchedule"},
            {"key": "a", "value": "v", "effect": "NoSchedule"},
        ),
        [
            (
                "spec.taints[1]",
                ('Duplicate value: {"Key":"a","Value":"v","Effect":"NoSchedule","TimeAdded":null}: '
                "taints must be unique by key and effect pair"),
            )
        ],
    ),
    (NODES, taints({"key": "a"}), [("spec.taints[0].effect", "Required value")]),
    (
        NODES,
        taints({"key": "a", "effect": "Bogus"}),
        [
            (
                "spec.taints[0].effect",
                ('Unsupported value: "Bogus": supported values: "NoSchedule", "PreferNoSchedule", '
                '"NoExecute"'),
            )
        ],
    ),
    (
        NODES,
        taints({"key": "a", "value": "b c", "effect": "NoSchedule"}),
        [("spec.taints[0].value", f'Invalid value: "b c": {VALUE}')],
    ),
    (
        NAMESPACES,
        {"metadata": {"name": "a.b"}},
        [("metadata.name", 'Invalid value: "a.b": must not contain dots')],
    ),
    (
        LEASES,
        {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}},
        [
            ("spec.leaseDurationSeconds", "Invalid value: 0: must be greater than 0"),
            ("spec.leaseTransitions", "Invalid value: -1: must be greater than or equal to 0"),
        ],
    ),
    (
        PDBS,
        {"spec": {"minAvailable": 1, "maxUnavailable": "200%"}},
        [
            (
                "spec",
                ('Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":"200%",'
                '"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be '
                "both set"),
            ),
            ("spec.maxUnavailable", 'Invalid value: "200%": must not be greater than 100%'),
        ],
    ),
    (
        CONFIG_MAPS,
        {"data": {"a b": "", "c": ""}, "binaryData": {"c": ""}},
        [
            (
                "data[a b]",
                ('Invalid value: "a b": a valid config key must consist of alphanumeric '
                "characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', "
                "regex used for validation is '[-._a-zA-Z0-9]+')"),
            ),
            ("data[c]", 'Invalid value: "c": duplicate of key present in binaryData'),
        ],
    ),
    (SERVICES, {"spec": {}}, [("spec.ports", "Required value")]),
    (SERVICES, {"spec": {"clusterIP": "None"}}, []),
    (
        SERVICES,
        {"spec": {"ports": [{"port": 80}, {"port": 0, "name": "a"}]}},
        [
            ("spec.ports[0].name", "Required value"),
            ("spec.ports[1].port", "Invalid value: 0: must be between 1 and 65535, inclusive"),
            (
                "spec.ports[1].targetPort",
                "Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
        ],
    ),
    (
        JOBS,
        {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}}},
        [
            (
                "spec.template.spec.restartPolicy",
                'Required value: valid values: "OnFailure", "Never"',
            )
        ],
    ),
    (
        SERVICES,
        {"spec": {"type": "ExternalName"}},
        [("spec.externalName", "Required value")],
    ),
    (
        SERVICES,
        {"spec": {"type": "Magic", "ports": [{"port": 80, "protocol": "ICMP"}]}},
        [
            (
                "spec.ports[0].protocol",
                'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
            ),
            (
                "spec.type",
                (
                    'Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", '
                    '"LoadBalancer", "NodePort"'
                ),
            ),
        ],
    ),
    (
        SERVICES,
        {"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}},
        [("spec.ports[1].name", 'Duplicate value: "a"')],
    ),
    (
        PDBS,
        {"spec": {"minAvailable": "1%", "unhealthyPodEvictionPolicy": "Maybe"}},
        [
            (
                "spec.unhealthyPodEvictionPolicy",
                'Unsupported value: "Maybe": supported values: "AlwaysAllow", "IfHealthyBudget"',
            )
        ],
    ),
    (
        ROLES,
        {"rules": [{"verbs": ["get"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
        [
            (
                "rules[0].apiGroups",
                "Required value: resource rules must supply at least one api group",
            ),
            (
                "rules[0].resources",
                "Required value: resource rules must supply at least one resource",
            ),
        ],
    ),
    (
        ROLE_BINDINGS,
        {"kind": "RoleBinding", "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{}]},
        [("subjects[0].name", "Required value")],
    ),
    (
        JOBS,
        {"spec": {**JOB["spec"], "parallelism": -1}},
        [("spec.parallelism", "Invalid value: -1: must be greater than or equal to 0")],
    ),
    (CONTROLLER_REVISIONS, {"revision": 1}, [("data", "Required value: data is mandatory")]),
    (
        EVENTS,
        {"involvedObject": {"namespace": "other"}},
        [("involvedObject.namespace", 'Invalid value: "other": does not match event.namespace')],
    ),
    (
        ROLES,
        {"rules": [{"apiGroups": [""], "resources": ["pods"]}]},
        [("rules[0].verbs", "Required value: verbs must contain at least one value")],
    ),
    (
        ROLE_BINDINGS,
        {"kind": "RoleBinding", "roleRef": {"kind": "Rule"}},
        [
            (
                "roleRef.kind",
                'Unsupported value: "Rule": supported values: "Role", "ClusterRole"',
            ),
            ("roleRef.name", "Required value"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "body", "expected"), KINDS)
def test_kinds(resource: Resource, body: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert complaints(resource, body) == expected


def test_service_names_are_dns_1035_labels_and_role_names_anything_in_a_path() -> None:
    body = {"metadata": {"name": "1st"}, "spec": {"ports": [{"port": 80}]}}
    ((field, message),) = complaints(SERVICES, body)
    assert field == "metadata.name"
    assert "a DNS-1035 label must consist of" in message
    assert complaints(ROLES, {"metadata": {"name": "system:node"}}) == []
    assert complaints(ROLES, {"metadata": {"name": "a/b"}}) == [
        ("metadata.name", "Invalid value: \"a/b\": may not contain '/'")
    ]


FROZEN = "Forbidden: field is immutable when `immutable` is set"
CHANGES: list[tuple[Resource, dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = [
    (CONFIG_MAPS, {"data": {"a": "1"}}, {"data": {"a": "2"}, "immutable": True}, []),
    (CONFIG_MAPS, {"immutable": True}, {"data": {"a": "1"}}, [("data", FROZEN)]),
    (CONFIG_MAPS, {"immutable": True}, {"immutable": False}, [("immutable", FROZEN)]),
    (SECRETS, {}, {"type": "x/y"}, [("type", 'Invalid value: "x/y": field is immutable')]),
    (
        CONTROLLER_REVISIONS,
        {"data": {"a": 1}, "revision": 1},
        {"data": {"a": 2}, "revision": 2},
        [("data", 'Invalid value: {"a":2}: field is immutable')],
    ),
    (
        NODES,
        {"spec": {"providerID": "a://1"}},
        {"spec": {"providerID": "a://2"}},
        [
            (
                "spec.providerID",
                'Forbidden: node updates may not change providerID except from "" to valid',
            )
        ],
    ),
    (JOBS, JOB, {"spec": {"suspend": True}}, []),
    (
        JOBS,
        JOB,
        {"spec": {"completions": 3}},
        [("spec.completions", "Invalid value: 3: field is immutable")],
    ),
    (
        ROLE_BINDINGS,
        {"kind": "RoleBinding", "roleRef": {"kind": "Role", "name": "r"}},
        {"roleRef": {"name": "s"}},
        [
            (
                "roleRef",
                (
                    'Invalid value: {"kind":"Role","name":"s",'
                    '"apiGroup":"rbac.authorization.k8s.io"}: cannot change roleRef'
                ),
            )
        ],
    ),
    (NODES, {"spec": {}}, {"spec": {"unschedulable": True, "providerID": "a://1"}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "old", "patch", "expected"), CHANGES)
def test_changes(
    resource: Resource,
    old: dict[str, Any],
    patch: dict[str, Any],
    expected: list[tuple[str, str]],
) -> None:
    assert changes(resource, old, patch) == expected
