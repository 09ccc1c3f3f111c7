"""What a gate may know when it measures: one frozen picture, taken in the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollout.cluster.client import Client
from rollout.fleet.objects import Node, Pod
from rollout.gates.measurement import REASON_LENGTH, plain
from rollout.gates.secrets import Secret
from rollout.gates.settings import Settings

ZONE_LABEL = "topology.kubernetes.io/zone"


def nowhere_to_write(verb: str, gate: str, name: str) -> bool:
    """Let a gate write that is measured outside of a run: there is no journal."""
    del verb, gate, name
    return True


@dataclass(frozen=True, slots=True)
class WaveInfo:
    """The wave that the gate belongs to."""

    number: int  # from 1
    name: str


@dataclass(frozen=True, slots=True)
class DaemonSetInfo:
    """One DaemonSet of the plan, with the hashes of the revision it comes from and goes to."""

    name: str
    namespace: str
    uid: str
    old_revision: str
    new_revision: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's word on a gate, from the run record."""

    who: str
    at: float
    gate: str  # instance id, or the wave's name
    approved: bool = True
    reason: str = ""
    digest: str = ""  # of the plan that it was given for


@dataclass(frozen=True, slots=True)
class Bare:
    """A node that should run a pod of a DaemonSet and has none: missing data, not a small fleet."""

    daemon_set: str
    node: str


@dataclass(frozen=True, slots=True)
class Context:
    """The picture.

    Attributes:
        gate: id of the gate instance: `gate/after-wave/canary/errors`.
        plan: name of the plan; `digest` and `author` are its own.
        run: id of the run; "" outside of one.
        wave: None where the gate belongs to no wave.
        namespace: of the rollout; a Secret without a namespace is read there.
        node: for gates that are measured for one node.
        updated: pods of the new revision; `updated_nodes` are the names of the nodes that were
            updated, also of those whose new pod is gone.
        control: pods of nodes that aren't updated yet.
        since: when the change was made; samples and events must be newer.
        began: when this gate instance was asked first.
        now: when this measurement begins. All three in seconds on the server's clock.
        approvals: those in the record.
        client: the cluster.
        settings: what the caller allows.
        baked_at: when the bake time of its wave ends, by the same clock; 0: there is none.
        more_to_come: whether nodes are still to be updated, or are being so.
        bare: updated nodes whose new pod is gone; `bare_before` those that aren't updated yet and
            have no pod.
        intend: asked before a write, with the verb, the gate's id and the object's name; returns
            whether it is written down in the journal, which it must be (S4).
        secret: what the gate's secretRef names; filled in by `measuring`.
    """

    gate: str
    plan: str
    digest: str
    author: str
    run: str
    wave: WaveInfo | None
    namespace: str
    daemon_sets: tuple[DaemonSetInfo, ...]
    node: Node | None
    updated: tuple[Pod, ...]
    control: tuple[Pod, ...]
    updated_nodes: tuple[str, ...]
    since: float
    began: float
    now: float
    approvals: tuple[Approval, ...]
    client: Client
    settings: Settings
    baked_at: float = 0.0
    more_to_come: bool = False
    bare: tuple[Bare, ...] = ()
    bare_before: tuple[Bare, ...] = ()
    intend: Callable[[str, str, str], bool] = nowhere_to_write
    secret: Secret | None = None


def bare_nodes(context: Context) -> tuple[str, ...]:
    """Return where a new pod should be and isn't, of the gate's node where it has one; in words."""
    name = context.node.metadata.name if context.node is not None else ""
    several = len(context.daemon_sets) > 1
    return tuple(
        f"{bare.node} ({bare.daemon_set})" if several else bare.node
        for bare in context.bare
        if name in ("", bare.node)
    )


def quote(context: Context, text: str, most: int = REASON_LENGTH) -> str:
    """Return what somebody outside said, fit to be shown; a secret goes before it could be cut."""
    return plain(text if context.secret is None else context.secret.redact(text), most)


def variables(context: Context) -> dict[str, object]:
    """Return what conditions see beside `result`, as plain data."""
    wave = context.wave
    return {
        "node": None if context.node is None else describe_node(context.node),
        "wave": None if wave is None else {"number": wave.number, "name": wave.name},
        "revisions": {
            d.name: {"old": d.old_revision, "new": d.new_revision} for d in context.daemon_sets
        },
    }


def describe_node(node: Node) -> dict[str, object]:
    """Return a node as conditions, commands and plugins see it."""
    return {
        "name": node.metadata.name,
        "labels": node.metadata.labels,
        "zone": node.metadata.labels.get(ZONE_LABEL, ""),
        "ready": node.ready,
        "conditions": {c.type: c.status for c in node.status.conditions},
    }
