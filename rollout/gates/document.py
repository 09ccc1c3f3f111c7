"""What webhooks, commands and plugins are told: one JSON document (plans/README.md)."""

from __future__ import annotations

import hashlib
from typing import Any

from rollout.fleet.objects import format_time
from rollout.gates.context import Context, describe_node
from rollout.gatespec import GateBase

VERSION = 1


def describe(gate: GateBase, context: Context) -> dict[str, Any]:
    """Return the document: what is being updated, and where the gate stands in it.

    `delivery` is the same for all measurements of one gate instance, so that a receiver can tell
    a repetition from a new question.
    """
    wave = context.wave
    return {
        "version": VERSION,
        "run": context.run,
        "plan": {"name": context.plan, "digest": context.digest, "author": context.author},
        "gate": {"name": gate.name, "at": gate.at, "id": context.gate},
        "wave": None if wave is None else {"number": wave.number, "name": wave.name},
        "namespace": context.namespace,
        "daemonSets": [
            {
                "name": item.name,
                "namespace": item.namespace,
                "oldRevision": item.old_revision,
                "newRevision": item.new_revision,
            }
            for item in context.daemon_sets
        ],
        "node": None if context.node is None else describe_node(context.node),
        "nodes": list(context.updated_nodes),
        "time": format_time(context.now),
        "delivery": _delivery(context),
    }


def _delivery(context: Context) -> str:
    node = "" if context.node is None else context.node.metadata.name
    parts = (context.run, context.digest, context.gate, node, str(context.began))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
