"""The plan document: what will be done to which node, in which order, and why.

A plan is canonical JSON (sorted keys, no spaces), so the same fleet gives the same bytes. The
digest covers everything but itself, the id, the author and the time stamp; the id covers those.
How long a plan may be begun is in the digest, and its expiry follows from that and the time stamp.
A file whose bytes are not exactly what we would write is refused, so no single byte can change
unseen.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from rollout import __version__
from rollout.errors import DocumentError
from rollout.fleet.objects import JsonObject, format_time, parse_time
from rollout.fleet.revisions import canonical_json
from rollout.gatespec import Gate
from rollout.notifyspec import Sink
from rollout.quantity import Amount
from rollout.spec import After, NodeRules
from rollout.unreadable import UNREADABLE

SCHEMA_VERSION = 1
WAY_BACK = "way back"  # the kind of target of a rollback, and of an undo
LONGEST_VALID_S: Final = 10 * 365 * 86400.0  # a plan may be begun; the shortest is a second
MOST_READ = 256_000_000  # bytes of a plan; one of 100,000 nodes takes a quarter of it

Fate: TypeAlias = Literal["update", "current", "deferred", "ineligible"]
VertexKind: TypeAlias = Literal[
    "prepare", "join", "barrier", "update", "gate", "approval", "restore"
]


class Struct(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all parts of a plan."""


class ClusterId(Struct, frozen=True):
    """Which cluster the plan was made for."""

    uid: str  # UID of the namespace kube-system
    version: str  # as the server calls itself: "v1.36.0"


class Revision(Struct, frozen=True):
    """A pod template of a DaemonSet, and where the controller keeps it."""

    template_digest: str
    revision: int | None = None  # None: the controller has not recorded it yet
    hash: str | None = None


class Limit(Struct, frozen=True, omit_defaults=True):
    """A resolved number with its base: `10% of 37 = 4`."""

    value: int
    text: str
    percent: int = 0  # of `base`; 0: it is a count
    base: int = 0

    def without(self, gone: int) -> Limit:
        """Return the limit when so many of its base are gone: never more, and not 0 by that."""
        if not (self.percent and gone):
            return self
        amount, base = Amount(self.percent, percent=True), max(1, self.base - gone)
        return Limit(amount.resolve(base), amount.explain(base), self.percent, base)


class PlannedPod(Struct, frozen=True):
    """The pod that the plan saw on a node."""

    name: str
    uid: str
    revision: int | None = None
    hash: str = ""


class HandOver(Struct, frozen=True):
    """Surge by hand-over: the label that is taken from old pods, and what selects it."""

    label: str
    value: str
    affected: tuple[str, ...]


class PlannedNode(Struct, frozen=True):
    """What happens to one node, for one DaemonSet; every node has exactly one fate."""

    name: str
    uid: str
    fate: Fate
    reason: str = ""
    deferred_by: Literal["", "excluded", "cordoned", "not-ready", "stuck"] = ""
    wave: int | None = None  # 1-based; only with fate `update`
    zone: str = ""
    predicted_s: float = 0.0  # how long its last pod took to become ready; 0: not known
    available: bool = False  # whether the node had an available pod
    in_budget: bool = False  # whether it counts as unavailable when it has no available pod
    removes_pod: bool = False  # the new template no longer fits: the controller removes the pod
    pod: PlannedPod | None = None


class PlannedDaemonSet(Struct, frozen=True):
    """One DaemonSet of the plan: preconditions, target, limits, nodes."""

    name: str
    namespace: str
    uid: str
    generation: int
    min_ready_s: float
    owner_on_delete: bool  # OnDelete by its owner's choice: nothing is flipped or restored
    original_strategy: JsonObject  # as its owner wrote it
    live_strategy: JsonObject  # as the plan saw it: OnDelete where an earlier run has set that
    final_strategy: JsonObject
    current: Revision
    target: Revision
    stable: Revision  # where a rollback leads: `current`, where that was brought to its end
    target_kind: str
    template_changes: tuple[JsonObject, ...]  # from the current to the target template, RFC 6902
    fields: JsonObject
    labels: dict[str, str]
    annotations: dict[str, str]
    desired: int  # nodes that should run the pod: the base of percentages
    max_unavailable: Limit
    max_surge: Limit
    hand_over: HandOver | None
    after: After | None  # the DaemonSet that this one waits for
    managers: dict[str, tuple[str, ...]]  # who else manages which of the changed fields
    diff: tuple[str, ...]
    nodes: tuple[PlannedNode, ...]

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def budget(self) -> Limit:
        """How many nodes may be in flight: the one limit of the two that is not zero."""
        return self.max_surge if self.hand_over is not None else self.max_unavailable

    @property
    def budget_name(self) -> str:
        """Which of the two limits that is, as the spec calls it."""
        return "maxUnavailable" if self.hand_over is None else "maxSurge"

    @property
    def budget_text(self) -> str:
        """The same as a sentence: `maxUnavailable 10% of 37 = 4`."""
        return f"{self.budget_name} {self.budget.text}"

    @property
    def changes_template(self) -> bool:
        """Whether the pod template changes."""
        return bool(self.template_changes)

    def watches(self, node: PlannedNode) -> bool:
        """Whether a step only watches a node: its pod was of the target before the run."""
        return (
            node.fate == "update"
            and node.pod is not None
            and node.pod.hash == self.target.hash
            and not self.changes_template
            and self.target_kind != WAY_BACK
        )

    @property
    def changes_settings(self) -> bool:
        """Whether anything beside the template changes: strategy, fields, labels, annotations."""
        return bool(self.fields or self.labels or self.annotations) or (
            self.final_strategy != self.original_strategy
        )


class Wave(Struct, frozen=True):
    """A set of nodes that is done before the next one begins."""

    name: str
    nodes: int
    rule: str  # how it came about: "1", "5% of 200 = 10", "zone=a"
    bake_s: float = 0.0
    max_unavailable: Limit | None = None
    max_failures: Limit | None = None
    pause: Literal["", "approval"] = ""  # after the wave


class Step(Struct, frozen=True):
    """One vertex of the graph, with the ids of its predecessors."""

    id: str
    kind: VertexKind
    after: tuple[str, ...] = ()
    daemon_set: str = ""
    node: str = ""
    wave: int = 0

    @property
    def gate(self) -> str:
        """Name of the gate that it asks; only with kind `gate`."""
        return self.id.rpartition("/")[2]


class HealthRules(Struct, frozen=True):
    """When a node counts as done and when as failed; seconds."""

    soak_s: float
    node_timeout_s: float
    start_grace_s: float
    max_restarts: int
    pause_restarts: int | None
    max_flaps: int
    progress_deadline_s: float
    fail_fast: tuple[str, ...]


class FailureRules(Struct, frozen=True):
    """How many failed nodes the run survives, and what it does then; `Wave` has its own limit."""

    max_failures: Limit
    max_consecutive: int | None
    max_in_trouble: int | None
    max_unreachable: Limit
    pause_after: Limit | None
    sequential_test: bool
    on_failure: Literal["hold", "rollback", "abort"]


class RunLimits(Struct, frozen=True):
    """Limits over all DaemonSets of the plan."""

    replacements_per_second: float
    max_nodes_in_flight: int | None = None
    max_per_zone: int | None = None
    max_broken_zones: int | None = None


class Totals(Struct, frozen=True):
    """Nodes by fate."""

    nodes: int
    update: int
    current: int
    deferred: int
    ineligible: int
    removed: int


class Plan(Struct, frozen=True, omit_defaults=True):
    """The whole document; what has a default here is left out where it holds."""

    api_version: Literal["rollout/v1"]
    kind: Literal["Plan"]
    schema_version: int
    id: str
    digest: str
    created_at: str
    author: str  # who made it; no approval of his or her own counts
    tool_version: str
    name: str
    namespace: str
    cluster: ClusterId
    daemon_sets: tuple[PlannedDaemonSet, ...]
    waves: tuple[Wave, ...]
    steps: tuple[Step, ...]
    gates: tuple[Gate, ...]
    notify: tuple[Sink, ...]
    health: HealthRules
    failure: FailureRules
    limits: RunLimits
    rules: NodeRules
    totals: Totals
    warnings: tuple[str, ...]
    valid_for_s: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_VALID_S)] | None = None
    expires_at: str = ""  # `valid_for_s` after `created_at`: no run of it begins any more

    @property
    def has_changes(self) -> bool:
        """Whether applying the plan would write anything."""
        return bool(self.steps)

    def wave_word(self, number: int) -> str:
        """Return what names a wave (1-based) in a command: its name, where no other has it too.

        Under `after: {scope: all}` each group of DaemonSets has the waves of the spec again.
        """
        name = self.waves[number - 1].name
        alone = sum(wave.name == name for wave in self.waves) == 1
        return name if alone else str(number)

    @property
    def goes_back(self) -> bool:
        """Whether it is a way back: to an earlier revision, by rollback or undo."""
        return any(ds.target_kind == WAY_BACK for ds in self.daemon_sets)


def seal(plan: Plan) -> Plan:
    """Return the plan with its expiry, its digest, and the id that binds author and time stamp.

    Raises:
        DocumentError: when it expires, and does not say when it was made.
    """
    digest = _digest(plan)
    return msgspec.structs.replace(
        plan, digest=digest, id=_id(digest, plan), expires_at=_expires_at(plan)
    )


def encode(plan: Plan) -> bytes:
    """Return the canonical bytes of a sealed plan."""
    return canonical_json(plan) + b"\n"


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    """What says how the rest is to be read; that is not looked at, and takes no room."""

    kind: msgspec.Raw = msgspec.Raw()
    schema_version: msgspec.Raw = msgspec.Raw(b"null")


def decode(data: bytes, name: str, cure: str = "") -> Plan:
    """Read a plan and prove that no byte of it was changed.

    Args:
        data: of the plan.
        name: of where it was found, for messages.
        cure: what to do where it is none; "": what helps with a file.

    Raises:
        DocumentError: when it is no plan, of another schema, or not as it was written.
    """
    spec = "" if cure else "; a spec goes with -f"
    cure = cure or "make a new one with 'rollout plan'"
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError:
        raise DocumentError(f"{name}:1: not a plan; {cure}{spec}") from None
    except UNREADABLE as error:
        reason = str(error).partition(" (")[0]
        raise DocumentError(f"{name}:1: not a plan (not JSON: {reason}); {cure}{spec}") from None
    if bytes(head.kind) != b'"Plan"':
        raise DocumentError(f"{name}:1: not a plan; {cure}{spec}")
    version = _short(head.schema_version)
    if version != SCHEMA_VERSION:
        raise DocumentError(
            f"{name}:1: plan schema {version!r}; this tool ({__version__}) reads {SCHEMA_VERSION}; "
            f"{cure}"
        )
    try:
        plan = msgspec.json.decode(data, type=Plan)
        sealed = seal(plan)
    except (DocumentError, *UNREADABLE) as error:
        raise DocumentError(f"{name}:1: the plan was changed: {error}; {cure}") from None
    if encode(sealed) != data:
        raise DocumentError(
            f"{name}:1: the plan was changed after it was made: digest {plan.digest} does not "
            f"match the content; {cure}"
        )
    return plan


def _short(raw: msgspec.Raw) -> object:
    """Return a value that should be a number; what is far too long for one, as it begins."""
    text = bytes(raw)
    most = 20
    return msgspec.json.decode(text) if len(text) <= most else text[:most].decode(errors="replace")


def _digest(plan: Plan) -> str:
    bare = msgspec.structs.replace(plan, digest="", id="", created_at="", author="", expires_at="")
    return "sha256:" + hashlib.sha256(canonical_json(bare)).hexdigest()


def _id(digest: str, plan: Plan) -> str:
    bound = f"{digest} {plan.created_at} {plan.author}"
    return hashlib.sha256(bound.encode()).hexdigest()[:12]


def _expires_at(plan: Plan) -> str:
    if plan.valid_for_s is None:
        return ""
    try:
        made = parse_time(plan.created_at)
        if format_time(made) == plan.created_at:
            return format_time(made + plan.valid_for_s)
    except (ValueError, OverflowError):
        pass
    raise DocumentError(f"it expires, and its createdAt {plan.created_at[:30]!r} is no such time")
