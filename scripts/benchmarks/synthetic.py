"""A fleet made of nothing but the objects that the edge decodes, planned and written."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from rollout.files import write_private
from rollout.fleet.objects import ControllerRevision, DaemonSet, JsonObject, Node, Pod
from rollout.fleet.snapshot import Fleet, build_fleet
from rollout.memory import nothing_to_collect
from rollout.planner.build import Subject, build_plan
from rollout.planner.desired import desired_state
from rollout.planner.plan import encode
from rollout.spec import LoadedSpec, Spec
from rollout.yamlsource import Source

NOW: Final = 1_790_000_000.0
CREATED: Final = "2026-08-22T13:33:20Z"
READY: Final = "2026-08-22T13:33:{:02d}Z"
ZONES: Final = 6
DS_UID: Final = "2f8b1c3e-0000-4000-8000-000000000001"
HASH: Final = "7999dff656"
TEMPLATE: Final[JsonObject] = {
    "metadata": {"labels": {"app": "log-agent"}},
    "spec": {"containers": [{"name": "agent", "image": "log-agent:2.3"}]},
}
BODY: Final[JsonObject] = {
    "apiVersion": "rollout/v1",
    "kind": "Rollout",
    "metadata": {"name": "log-agent", "namespace": "logging"},
    "spec": {
        "daemonSets": [
            {
                "name": "log-agent",
                "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
                "strategy": {"maxUnavailable": "5%"},
            }
        ]
    },
}


@nothing_to_collect()
def plan_synthetic(nodes: int) -> dict[str, Any]:
    """Plan a fleet, write the plan, and return the seconds and bytes of it."""
    objects = [_node(number) for number in range(nodes)], [_pod(number) for number in range(nodes)]
    made, used = time.perf_counter(), time.process_time()
    fleet = _fleet(*objects)
    source = Source("spec.yaml", BODY, {})
    loaded = LoadedSpec(source.convert(Spec), source, {}, ())
    item = loaded.spec.spec.daemon_sets[0]
    desired = desired_state(loaded, 0, item, fleet, CREATED)
    plan = build_plan(loaded, [Subject(fleet, desired)], "v1.36.0", NOW)
    planned = time.perf_counter()
    data = encode(plan)
    with tempfile.TemporaryDirectory() as directory:
        write_private(Path(directory, "plan.json"), data)
    written = time.perf_counter()
    return {
        "plan_s": planned - made,
        "write_s": written - planned,
        "cpu_s": time.process_time() - used,
        "bytes": len(data),
    }


def _fleet(nodes: list[Node], pods: list[Pod]) -> Fleet:
    meta = {
        "name": "log-agent",
        "namespace": "logging",
        "uid": DS_UID,
        "generation": 1,
        "annotations": {"deprecated.daemonset.template.generation": "1"},
    }
    spec = {
        "selector": {"matchLabels": {"app": "log-agent"}},
        "template": TEMPLATE,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
    }
    raw: JsonObject = {"metadata": meta, "spec": spec, "status": {}}
    owner = {"kind": "DaemonSet", "name": "log-agent", "uid": DS_UID, "controller": True}
    revision = {
        "metadata": {
            "name": f"log-agent-{HASH}",
            "labels": {"app": "log-agent", "controller-revision-hash": HASH},
            "ownerReferences": [owner],
        },
        "data": {"spec": {"template": {"$patch": "replace", **TEMPLATE}}},
        "revision": 1,
    }
    revisions = [msgspec.convert(revision, ControllerRevision)]
    return build_fleet("uid", msgspec.convert(raw, DaemonSet), raw, revisions, nodes, pods)


def _node(number: int) -> Node:
    """Return a node with as many labels and annotations as those of a cloud have."""
    name = f"node-{number:06d}"
    labels = {f"cloud.example.com/property-{i}": f"value-{i}-of-{name}" for i in range(10)}
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "uid": f"node-uid-{number:028d}",
                "resourceVersion": str(number),
                "labels": {
                    **labels,
                    "kubernetes.io/hostname": name,
                    "topology.kubernetes.io/zone": f"zone-{number % ZONES}",
                },
                "annotations": {f"cloud.example.com/note-{i}": "x" * 100 for i in range(5)},
            },
            "status": {
                "conditions": [
                    {"type": kind, "status": status, "reason": "KubeletSays", "message": "fine"}
                    for kind, status in (("MemoryPressure", "False"), ("Ready", "True"))
                ]
            },
        },
        Node,
    )


def _pod(number: int) -> Pod:
    owner = {"kind": "DaemonSet", "name": "log-agent", "uid": DS_UID, "controller": True}
    ready = READY.format(20 + number % 37)
    return msgspec.convert(
        {
            "metadata": {
                "name": f"log-agent-{number:06d}",
                "namespace": "logging",
                "uid": f"pod-uid-{number:028d}",
                "creationTimestamp": CREATED,
                "labels": {
                    "app": "log-agent",
                    "controller-revision-hash": HASH,
                    "pod-template-generation": "1",
                },
                "ownerReferences": [owner],
            },
            "spec": {"nodeName": f"node-{number:06d}"},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ready}],
                "containerStatuses": [{"name": "agent", "ready": True, "restartCount": 0}],
            },
        },
        Pod,
    )
