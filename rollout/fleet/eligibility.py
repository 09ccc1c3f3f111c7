"""Which nodes must, may or must not run a pod of a DaemonSet (behaviour.md section 1).

The same rules serve the planner and the embedded controller. Only node name, labels and taints
count: conditions, cordons (but for their taint), resources and ports are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.fleet.objects import JsonObject, Taint
from rollout.fleet.selectors import compares

NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"

# Added by the controller to every pod (behaviour.md 1.2); no tolerationSeconds, operator Exists.
_AUTOMATIC: tuple[tuple[str, str], ...] = (
    ("node.kubernetes.io/not-ready", NO_EXECUTE),
    ("node.kubernetes.io/unreachable", NO_EXECUTE),
    ("node.kubernetes.io/disk-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/memory-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/pid-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/unschedulable", NO_SCHEDULE),
)
_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", NO_SCHEDULE)


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The controller's two answers for one node, and why when one of them is no."""

    should_run: bool
    should_continue: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Toleration:
    """One toleration of a pod."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        """Whether it accepts the taint (core/v1 `Toleration.ToleratesTaint`)."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.value == taint.value


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a pod template asks of a node, read once for all nodes."""

    node_name: str
    node_selector: tuple[tuple[str, str], ...]
    terms: tuple[JsonObject, ...] | None  # None: no required node affinity
    tolerations: tuple[Toleration, ...]


ELIGIBLE = Eligibility(should_run=True, should_continue=True)


def automatic_tolerations(pod_spec: Mapping[str, Any]) -> list[JsonObject]:
    """Return the template's tolerations with the controller's own added (behaviour.md 1.2).

    A user's toleration of the same key, operator, value and effect is overwritten in place.
    """
    tolerations = [dict(item) for item in pod_spec.get("tolerations") or ()]
    wanted = [*_AUTOMATIC, _HOST_NETWORK] if pod_spec.get("hostNetwork") else list(_AUTOMATIC)
    for key, effect in wanted:
        own = {"key": key, "operator": "Exists", "effect": effect}
        same = [
            index
            for index, item in enumerate(tolerations)
            if item.get("key", "") == key
            and item.get("operator", "Equal") == "Exists"
            and not item.get("value")
            and item.get("effect", "") == effect
        ]
        for index in same:
            tolerations[index] = own
        if not same:
            tolerations.append(own)
    return tolerations


def compile_requirements(template: Mapping[str, Any]) -> Requirements:
    """Read a pod template's demands on nodes.

    Args:
        template: `spec.template` of a DaemonSet.
    """
    spec: Mapping[str, Any] = template.get("spec") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = None if required is None else tuple(required.get("nodeSelectorTerms") or ())
    return Requirements(
        node_name=str(spec.get("nodeName") or ""),
        node_selector=tuple((spec.get("nodeSelector") or {}).items()),
        terms=terms,
        tolerations=tuple(
            Toleration(
                str(item.get("key") or ""),
                str(item.get("operator") or "Equal"),
                str(item.get("value") or ""),
                str(item.get("effect") or ""),
            )
            for item in automatic_tolerations(spec)
        ),
    )


def evaluate(
    requirements: Requirements, *, name: str, labels: Mapping[str, str], taints: Iterable[Taint]
) -> Eligibility:
    """Decide for one node, as `NodeShouldRunDaemonPod` does (behaviour.md 1.1)."""
    misfit = _misfit(requirements, name, labels)
    if misfit:
        return Eligibility(should_run=False, should_continue=False, reason=misfit)
    untolerated = [
        taint
        for taint in taints
        if taint.effect in (NO_SCHEDULE, NO_EXECUTE)
        and not any(t.tolerates(taint) for t in requirements.tolerations)
    ]
    if not untolerated:
        return ELIGIBLE
    worst = next((t for t in untolerated if t.effect == NO_EXECUTE), untolerated[0])
    value = f"={worst.value}" if worst.value else ""
    return Eligibility(
        should_run=False,
        should_continue=worst.effect != NO_EXECUTE,
        reason=f"taint {worst.key}{value}:{worst.effect} is not tolerated",
    )


def _misfit(requirements: Requirements, name: str, labels: Mapping[str, str]) -> str:
    if requirements.node_name and requirements.node_name != name:
        return f"the template is bound to node {requirements.node_name}"
    for key, value in requirements.node_selector:
        if labels.get(key) != value:
            return f"nodeSelector {key}={value} does not match"
    if requirements.terms is not None and not any(
        _term_matches(term, name, labels) for term in requirements.terms
    ):
        return "required node affinity does not match"
    return ""


def _term_matches(term: JsonObject, name: str, labels: Mapping[str, str]) -> bool:
    expressions: Sequence[JsonObject] = term.get("matchExpressions") or ()
    fields: Sequence[JsonObject] = term.get("matchFields") or ()
    if not expressions and not fields:
        return False  # an empty term selects nothing
    return all(_requirement_holds(e, labels) for e in expressions) and all(
        _requirement_holds(f, {"metadata.name": name}) for f in fields
    )


def _requirement_holds(requirement: JsonObject, values: Mapping[str, str]) -> bool:
    actual = values.get(str(requirement.get("key") or ""))
    wanted = [str(v) for v in requirement.get("values") or ()]
    match requirement.get("operator"):
        case "In":
            return actual is not None and actual in wanted
        case "NotIn":
            return actual is None or actual not in wanted
        case "Exists":
            return actual is not None
        case "DoesNotExist":
            return actual is None
        case "Gt" | "Lt" as operator:
            return actual is not None and len(wanted) == 1 and compares(actual, wanted[0], operator)
    return False  # an unknown operator is a parse error, and those select nothing
