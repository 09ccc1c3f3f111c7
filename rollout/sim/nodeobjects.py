"""Node objects as a cloud's kubelets register them: labels, capacity, addresses."""

from __future__ import annotations

from typing import Final

from rollout.sim.fleetfile import ZONE_LABEL
from rollout.sim.store import Object

REGION_LABEL: Final = "topology.kubernetes.io/region"
REGION: Final = "region-1"
CAPACITY: Final[dict[str, str]] = {
    "cpu": "4",
    "ephemeral-storage": "100Gi",
    "memory": "16Gi",
    "pods": "110",
}
NODE_INFO: Final[Object] = {
    "architecture": "amd64",
    "bootID": "5b2f1e0c-8b0d-4f0e-9a57-2f4f3c1d7e10",
    "containerRuntimeVersion": "containerd://2.2.0",
    "kernelVersion": "6.12.0",
    "kubeProxyVersion": "",
    "kubeletVersion": "v1.36.0",
    "machineID": "7f0c3b9a5d1e4c7f8a6b2d4e6f8a0c1e",
    "operatingSystem": "linux",
    "osImage": "Debian GNU/Linux 13 (trixie)",
    "systemUUID": "7f0c3b9a-5d1e-4c7f-8a6b-2d4e6f8a0c1e",
}
_ENDPOINTS: Final[Object] = {"kubeletEndpoint": {"Port": 10250}}


def node_body(
    name: str, number: int, *, zone: str = "", labels: dict[str, str] | None = None
) -> Object:
    """Return the body of a node without conditions.

    Args:
        name: its name.
        number: gives it an address of its own.
        zone: its zone, if any.
        labels: more labels, which win.
    """
    all_labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
    }
    if zone:
        all_labels |= {REGION_LABEL: REGION, ZONE_LABEL: zone}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**all_labels, **(labels or {})}},
        "spec": {},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node_address(number)},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": CAPACITY,
            "capacity": CAPACITY,
            "daemonEndpoints": _ENDPOINTS,
            "nodeInfo": NODE_INFO,
        },
    }


def node_address(number: int) -> str:
    """Return the n-th address of the node network 10.0.0.0/9."""
    number = (number + 1) % (1 << 23)
    return f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}"
