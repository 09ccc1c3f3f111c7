"""Keeps in the cluster what a run needs to go on without its plan's file, and to go back.

The ConfigMap `rollout-NAME-plan` holds the very bytes of the sealed plan, compressed, the signature
under which it was begun, and each
template of before the run as a JSON patch that sets it, by which `kubectl` can go back as well.
Reading proves by digests that they are those that the record names.
When the run is over the bytes are taken out, the templates only when there is no way back any more;
the empty ConfigMap stays, because a run has no permission to delete it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import CORE
from rollout.cluster.paths import resource_path
from rollout.errors import ClusterError, DocumentError, StaleError
from rollout.executor.record.record import (
    DATA_KEY,
    ConfigMap,
    RunRecord,
    WholeConfigMap,
    record_name,
)
from rollout.fleet.marks import MANAGED_BY
from rollout.fleet.objects import JsonObject
from rollout.fleet.revisions import template_digest
from rollout.planner.plan import MOST_READ, Plan, decode, encode
from rollout.unreadable import UNREADABLE

MOST_STORED = 900_000  # bytes, compressed and in base64; a ConfigMap holds 1 MiB
STORE = "-plan"  # behind a record's name: the ConfigMap that holds its plan
_KEY = "plan"
_SIGNATURE = "signature"
_TEMPLATE = "template-"  # before its digest
_GZIP = 16 + zlib.MAX_WBITS  # the format of what is unfolded: that of `gunzip`


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a run is kept beside its record.

    Attributes:
        why_not: why the plan could not be stored; "" when it is.
        way_back: whether the templates of before are stored.
    """

    why_not: str = ""
    way_back: bool = True


class _Change(msgspec.Struct, frozen=True):
    """The one operation of a stored JSON patch."""

    value: JsonObject
    op: str = "replace"
    path: str = "/spec/template"


def store_name(plan_name: str) -> str:
    """Return the ConfigMap's name."""
    return f"{record_name(plan_name)}{STORE}"


def keep_plan(
    client: Client, plan: Plan, templates: Mapping[str, JsonObject], signature: bytes = b""
) -> Kept:
    """Store the plan of a run that begins, and the way back. A run goes on all the same.

    Args:
        client: of the cluster.
        plan: sealed.
        templates: of before the run, by `template_digest`.
        signature: of the plan's bytes; empty where none was checked.
    """
    content = {
        f"{_TEMPLATE}{digest}": _fold(msgspec.json.encode([_Change(template)]))
        for digest, template in templates.items()
    }
    content[_KEY] = _fold(encode(plan))
    if signature:
        content[_SIGNATURE] = base64.b64encode(signature).decode()
    size, why = sum(map(len, content.values())), ""
    if size > MOST_STORED:
        why = f"it has {size // 1000} kB compressed, a ConfigMap holds {MOST_STORED // 1000}"
        del content[_KEY]
        content.pop(_SIGNATURE, None)
    try:
        refused = _write(client, plan.namespace, plan.name, content)
    except ClusterError as error:
        refused = str(error)
    return Kept(refused, way_back=False) if refused else Kept(why)


def forget_plan(client: Client, namespace: str, plan_name: str, *, way_back: bool) -> None:
    """Take the stored plan out, when its run is over.

    Args:
        client: of the cluster.
        namespace: of the record.
        plan_name: name of the rollout.
        way_back: the run can still be taken back: the templates stay.

    Raises:
        ClusterError: when it can't be written.
    """
    found = client.get_or_none(_path(namespace, plan_name), ConfigMap)
    if found is None or not found.binary_data:
        return
    kept = {k: v for k, v in found.binary_data.items() if way_back and k.startswith(_TEMPLATE)}
    _write(client, namespace, plan_name, kept)


def kept_digests(store: ConfigMap) -> frozenset[str]:
    """Return the digests of the templates that a stored plan's ConfigMap says it holds."""
    names = (key for key in store.binary_data if key.startswith(_TEMPLATE))
    return frozenset(name.removeprefix(_TEMPLATE) for name in names)


def read_kept_template(
    client: Client, namespace: str, plan_name: str, digest: str
) -> JsonObject | None:
    """Return a template of before the run; None when it is not stored, or not that one.

    Raises:
        ClusterError: when it can't be read.
    """
    found = client.get_or_none(_path(namespace, plan_name), ConfigMap)
    try:
        text = found.binary_data[f"{_TEMPLATE}{digest}"] if found is not None else ""
        (change,) = msgspec.json.decode(_unfold(text), type=list[_Change])
    except (KeyError, ValueError, zlib.error, *UNREADABLE):
        return None
    return change.value if template_digest(change.value) == digest else None


def patch_by_hand(namespace: str, plan_name: str, digest: str) -> str:
    """Return the shell command that prints the JSON patch to a template of before the run.

    The template is named and not printed: a value of its environment may be a secret.
    """
    key = f"{{.binaryData.{_TEMPLATE}{digest}}}"
    where = f"configmap {store_name(plan_name)} -n {namespace}"
    return f"kubectl get {where} -o jsonpath='{key}' | base64 -d | gunzip"


def read_kept_plan(client: Client, namespace: str, record: RunRecord) -> Plan:
    """Return the stored plan of a run.

    Args:
        client: of the cluster.
        namespace: of the record.
        record: of the run.

    Raises:
        StaleError: when none is stored, or another one than the record names.
        DocumentError: when what is stored is no plan, or was changed.
        ClusterError: when it can't be read.
    """
    where = f"ConfigMap {namespace}/{store_name(record.name)}"
    cure = f"give its file: 'rollout resume {record.name} PLAN -n {namespace}'"
    found = client.get_or_none(_path(namespace, record.name), ConfigMap)
    if found is None or _KEY not in found.binary_data:
        raise StaleError(f"{where} does not hold plan {record.plan_id} (too large?); {cure}")
    try:
        data = _unfold(found.binary_data[_KEY])
    except (zlib.error, binascii.Error) as error:
        raise DocumentError(f"{where} holds no plan: {error}; {cure}") from None
    plan = decode(data, where, cure)
    if (plan.digest, plan.id) != (record.plan_digest, record.plan_id):
        raise StaleError(f"{where} holds plan {plan.id}, the run's is {record.plan_id}; {cure}")
    return plan


def read_kept_signature(client: Client, namespace: str, plan_name: str) -> bytes | None:
    """Return the signature that is kept beside a run's plan; None where there is none.

    Raises:
        ClusterError: when it can't be read.
    """
    found = client.get_or_none(_path(namespace, plan_name), ConfigMap)
    try:
        text = found.binary_data[_SIGNATURE] if found is not None else ""
        return base64.b64decode(text, validate=True) or None
    except (KeyError, binascii.Error):
        return None


def _fold(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6, _GZIP)).decode()


def _unfold(text: str) -> bytes:
    unfolding = zlib.decompressobj(_GZIP)
    data = unfolding.decompress(base64.b64decode(text, validate=True), MOST_READ)
    if not unfolding.eof:
        raise zlib.error(f"it is cut short, or unfolds to more than {MOST_READ} bytes")
    return data


def _write(client: Client, namespace: str, plan_name: str, content: dict[str, str]) -> str:
    """Create or replace the ConfigMap; never one that is not ours."""
    path, name = _path(namespace, plan_name), store_name(plan_name)
    body: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "binaryData": content}
    found = client.get_or_none(path, WholeConfigMap)
    if found is None:
        body["metadata"] = {"name": name, "namespace": namespace, "labels": MANAGED_BY}
        client.create(resource_path(CORE, "configmaps", namespace=namespace), body, ConfigMap)
        return ""
    if not MANAGED_BY.items() <= found.labels.items() or DATA_KEY in found.data:
        return f"ConfigMap {namespace}/{name} is there already and is not ours"
    body["metadata"] = found.kept()
    client.replace(path, body, ConfigMap)
    return ""


def _path(namespace: str, plan_name: str) -> str:
    return resource_path(CORE, "configmaps", namespace=namespace, name=store_name(plan_name))
