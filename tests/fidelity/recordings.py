"""The recorded exchanges with a real Kubernetes 1.36 API server, as data.

Files 01 to 07 are one history on one cluster; 08 is another cluster. What happened between two
exchanges (a scheduler's binding, a kubelet's status) is there as a `Setup`, waiting as a `Wait`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

FOLDER = Path(__file__).parent / "recordings"
HISTORY = (
    "01-discovery-and-auth",
    "02-nodes",
    "03-daemonsets",
    "04-pod-deletion-and-eviction",
    "05-leases-configmaps-events-access",
    "06-watches",
    "07-revisions-orphans-adoption",
)
COMPACTED = ("08-gone",)
TOO_LARGE = "(data.a is 1048577 times x)"


@dataclass(frozen=True)
class Call:
    """A request as it was sent."""

    method: str
    path: str
    headers: dict[str, Any]
    body: Any

    @property
    def is_watch(self) -> bool:
        return "watch=1" in self.path


@dataclass(frozen=True)
class Exchange:
    """A request and the answer that has to come back."""

    file: str
    name: str
    call: Call
    response: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.file[:2]}/{self.name}"


@dataclass(frozen=True)
class Setup:
    """What the recorder did in between; only its status is known."""

    call: Call
    status: int


@dataclass(frozen=True)
class Wait:
    """Time for the controllers to act."""

    seconds: float


Step: TypeAlias = Exchange | Setup | Wait


def load(file: str) -> list[Step]:
    entries = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    return [_step(file, entry) for entry in entries]


def _step(file: str, entry: dict[str, Any]) -> Step:
    if "wait_seconds" in entry:
        return Wait(entry["wait_seconds"])
    request = entry["request"]
    body = request.get("body")
    if body == TOO_LARGE:
        data = {"a": "x" * 1_048_577}
        body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "big"}, "data": data}
    call = Call(request["method"], request["path"], request.get("headers") or {}, body)
    if entry.get("setup"):
        return Setup(call, entry["response"]["status"])
    return Exchange(file, entry["name"], call, entry["response"])


def exchanges(files: tuple[str, ...]) -> list[Exchange]:
    return [step for file in files for step in load(file) if isinstance(step, Exchange)]
