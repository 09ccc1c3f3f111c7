"""Small builders of decoded objects for the tests of `fleet`: only what a test says differs."""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.fleet.objects import ControllerRevision, DaemonSet, Node, Pod

DS_UID = "ds-uid"
SELECTOR = {"matchLabels": {"app": "agent"}}


def owner(uid: str = DS_UID, *, controller: bool = True) -> dict[str, Any]:
    return {"kind": "DaemonSet", "name": "agent", "uid": uid, "controller": controller}


def template(image: str = "agent:1") -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "agent", "image": image}]},
    }


def make_node(name: str, **fields: Any) -> Node:
    raw = {"metadata": {"name": name, "uid": f"node-{name}", "labels": fields.pop("labels", {})}}
    return msgspec.convert(raw | fields, Node)


def make_pod(name: str, node: str = "", **metadata: Any) -> Pod:
    raw: dict[str, Any] = {
        "metadata": {"name": name, "uid": f"uid-{name}", "ownerReferences": [owner()]} | metadata,
        "spec": {"nodeName": node},
    }
    return msgspec.convert(raw, Pod)


def make_revision(
    number: int, hash_: str, of: dict[str, Any] | None = None, uid: str = DS_UID
) -> ControllerRevision:
    raw = {
        "metadata": {
            "name": f"agent-{hash_}",
            "labels": {"controller-revision-hash": hash_},
            "ownerReferences": [owner(uid)],
        },
        "revision": number,
        "data": {"spec": {"template": {**(of or template()), "$patch": "replace"}}},
    }
    return msgspec.convert(raw, ControllerRevision)


def make_daemon_set(**metadata: Any) -> DaemonSet:
    raw = {
        "metadata": {"name": "agent", "namespace": "logging", "uid": DS_UID} | metadata,
        "spec": {"selector": SELECTOR, "template": template()},
    }
    return msgspec.convert(raw, DaemonSet)
