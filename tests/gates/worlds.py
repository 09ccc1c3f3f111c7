"""Contexts of gates for tests: only what a test says differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import msgspec

from rollout.cluster.client import Client
from rollout.gates.context import Context, DaemonSetInfo, WaveInfo
from rollout.gates.settings import Settings
from rollout.gatespec import Gate

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
LOOPBACK = Settings(hosts=("127.0.0.1", "localhost"))


def a_gate(kind: str, **fields: Any) -> Any:
    """Return a gate as a spec would give it; keys as in the spec."""
    return msgspec.convert({"name": "g", "kind": kind, "at": "after-wave", **fields}, Gate)


def a_context(**changes: Any) -> Context:
    """Return the picture after wave `canary` has updated n1 and n2 of `log-agent`."""
    context = Context(
        gate="gate/after-wave/canary/g",
        plan="log-agent-2.4",
        digest="sha256:abc",
        author="ann",
        run="run-1",
        wave=WaveInfo(1, "canary"),
        namespace="logging",
        daemon_sets=(DaemonSetInfo("log-agent", "logging", "ds-uid", "aaa", "bbb"),),
        node=None,
        updated=(),
        control=(),
        updated_nodes=("n1", "n2"),
        since=NOW - 60,
        began=NOW - 30,
        now=NOW,
        approvals=(),
        client=cast("Client", None),
        settings=LOOPBACK,
    )
    return replace(context, **changes)
