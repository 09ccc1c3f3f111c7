from __future__ import annotations

import pytest
from kubernetes.client import models

from rollout.sim import schema
from rollout.sim.schema import Form, Type

NEWER = {  # fields of later versions, or of features that are off in 1.36
    "NodeSpec.podPreemptionPolicy",
    "NodeSystemInfo.runningInUserNamespace",
    "PodSpec.evictionResponders",
    "PodStatus.volumeHealth",
    "VolumeMount.bindMountOptions",
    "HTTPGetAction.protocol",
    "GRPCAction.mode",
    "EmptyDirVolumeSource.mode",
    "JobSpec.scheduling",
    "KeyToPath.user",
    "DownwardAPIVolumeFile.user",
    "ServiceAccountTokenProjection.user",
    "ClusterTrustBundleProjection.user",
    "PodCertificateProjection.user",
}
NEWER |= {
    f"{source}VolumeSource.defaultUser"
    for source in ("Secret", "DownwardAPI", "ConfigMap", "Projected")
}


def field_type(struct: str, field: str) -> Type:
    return schema.structs()[struct].fields[field].type


def published(struct: str) -> set[str] | None:
    """The fields of a struct in the published client."""
    bare = struct.rpartition(".")[2]
    names: tuple[str, ...] = (f"V1{struct}", f"CoreV1{struct}", f"RbacV1{struct}")
    if struct.startswith("events."):
        names = (f"EventsV1{bare}",)
    for name in names:
        model = getattr(models, name, None)
        if model is not None:
            return {text.strip("_") for text in model.attribute_map.values()}
    return None


@pytest.mark.parametrize("struct", sorted(schema.structs()))
def test_fields_are_those_of_the_published_client(struct: str) -> None:
    names = published(struct)
    if names is None:
        assert struct == "SelectorAttributes"  # two structs of the client in one
        return
    described = set(schema.structs()[struct].fields)
    missing = {name for name in names - described if f"{struct}.{name}" not in NEWER}
    assert (described - names, missing) == (set(), set())


@pytest.mark.parametrize("struct", sorted(schema.structs()))
def test_every_named_struct_is_described(struct: str) -> None:
    for field in schema.structs()[struct].fields.values():
        type_ = field.type
        while type_.item is not None:
            type_ = type_.item
        assert type_.form is not Form.STRUCT or type_.name in schema.structs()


@pytest.mark.parametrize(
    ("struct", "field", "patch_key", "keys"),
    [
        ("PodSpec", "containers", "name", ("name",)),
        ("PodSpec", "initContainers", "name", ("name",)),
        ("PodSpec", "volumes", "name", ("name",)),
        ("PodSpec", "imagePullSecrets", "name", ("name",)),
        ("PodSpec", "tolerations", None, ()),
        ("Container", "env", "name", ("name",)),
        ("Container", "ports", "containerPort", ("containerPort", "protocol")),
        ("Container", "volumeMounts", "mountPath", ("mountPath",)),
        ("Container", "args", None, ()),
        ("ResourceRequirements", "claims", None, ("name",)),
        ("ServiceSpec", "ports", "port", ("port", "protocol")),
        ("ObjectMeta", "ownerReferences", "uid", ("uid",)),
        ("NodeSpec", "taints", None, ()),
        ("NodeStatus", "addresses", "type", ("type",)),
        ("NodeStatus", "conditions", "type", ("type",)),
        ("PodStatus", "podIPs", "ip", ("ip",)),
        ("PodStatus", "hostIPs", "ip", ()),
        ("JobStatus", "conditions", "type", ()),
    ],
)
def test_lists_have_the_merge_keys_of_the_api(
    struct: str, field: str, patch_key: str | None, keys: tuple[str, ...]
) -> None:
    type_ = field_type(struct, field)
    assert (type_.patch_key, type_.keys) == (patch_key, keys)


def test_finalizers_are_a_set() -> None:
    type_ = field_type("ObjectMeta", "finalizers")
    assert type_.is_set
    assert type_.patch_key == ""


def test_selectors_are_owned_as_one_value() -> None:
    assert field_type("DaemonSetSpec", "selector").atomic
    assert field_type("PodSpec", "nodeSelector").atomic
    assert not field_type("ObjectMeta", "labels").atomic


def test_events_of_both_groups_differ() -> None:
    new = schema.kind_type("events.k8s.io/v1", "Event")
    old = schema.kind_type("v1", "Event")
    assert new is not None
    assert old is not None
    assert "note" in new.struct.fields
    assert "message" in old.struct.fields


def test_a_kind_without_description_has_no_type() -> None:
    assert schema.kind_type("apps/v1", "StatefulSet") is None
