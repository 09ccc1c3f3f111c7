"""What the API server refuses in DaemonSets (behaviour.md section 2.6, recorded messages)."""

from __future__ import annotations

from typing import Final

from rollout.sim import fielderrors as errors
from rollout.sim import formats, podrules, selectors
from rollout.sim.fielderrors import Cause
from rollout.sim.metadatarules import check_selector
from rollout.sim.store import Object

STRATEGIES: Final = ("RollingUpdate", "OnDelete")
_ROLLING: Final = "spec.updateStrategy.rollingUpdate"
_ALL: Final = 100  # percent


def check_daemonset(daemonset: Object) -> list[Cause]:
    """Return what is wrong with a DaemonSet's spec."""
    spec = daemonset.get("spec") or {}
    template = spec.get("template") or {}
    found = _check_selector(spec, template)
    found += podrules.check_template(template, "spec.template")
    found += _check_template_limits(template.get("spec") or {})
    found += errors.non_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
    found += _check_strategy(spec.get("updateStrategy") or {})
    history = spec.get("revisionHistoryLimit")
    if history is not None:
        found += errors.non_negative("spec.revisionHistoryLimit", history)
    return found


def check_daemonset_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with a changed DaemonSet: as above, and its selector stays."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after is before or after == before:
        return []
    found = errors.immutable("spec.selector", after.get("selector"), before.get("selector"))
    return found + check_daemonset(new)


def check_daemonset_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with a changed status: no number is negative, collisions only rise."""
    status, before = new.get("status") or {}, old.get("status") or {}
    found: list[Cause] = []
    for field in (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
    ):
        found += errors.non_negative(f"status.{field}", status.get(field, 0))
    collisions = status.get("collisionCount")
    if collisions is not None:
        found += errors.non_negative("status.collisionCount", collisions)
    if (collisions or 0) < (before.get("collisionCount") or 0):
        text = "cannot be decremented"
        found.append(errors.invalid("status.collisionCount", collisions or 0, text))
    return found


def _check_selector(spec: Object, template: Object) -> list[Cause]:
    selector = spec.get("selector")
    found = check_selector(selector, "spec.selector")
    labels = (template.get("metadata") or {}).get("labels")
    if not found and not selectors.labels_match(selector, labels):
        text = "`selector` does not match template `labels`"
        found.append(errors.invalid("spec.template.metadata.labels", labels, text))
    if selector is not None and not any(selector.values()):
        text = "empty selector is invalid for daemonset"
        found.append(errors.invalid("spec.selector", selector, text))
    return found


def _check_template_limits(pod: Object) -> list[Cause]:
    found: list[Cause] = []
    policy = pod.get("restartPolicy", "")
    if policy != "Always":
        found.append(errors.not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        text = "activeDeadlineSeconds in DaemonSet is not Supported"
        found.append(errors.forbidden("spec.template.spec.activeDeadlineSeconds", text))
    return found


def _check_strategy(strategy: Object) -> list[Cause]:
    """Check the limits of a rolling update; with OnDelete nothing of them is looked at."""
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": _go_limits(rolling)}
        return [errors.not_supported("spec.updateStrategy", shown, STRATEGIES)]
    if rolling is None:
        return [errors.required(_ROLLING)]
    limits = {field: rolling.get(field, 0) for field in ("maxUnavailable", "maxSurge")}
    found: list[Cause] = []
    for field, value in limits.items():
        found += check_amount(value, f"{_ROLLING}.{field}")
    for field, value in limits.items():
        found += check_at_most_all(value, f"{_ROLLING}.{field}")
    return found + _exactly_one(limits["maxUnavailable"], limits["maxSurge"])


def _go_limits(rolling: Object | None) -> Object | None:
    if rolling is None:
        return None
    return {"MaxUnavailable": rolling.get("maxUnavailable"), "MaxSurge": rolling.get("maxSurge")}


def check_amount(value: int | str, path: str) -> list[Cause]:
    """Check a number of pods or a percentage of them."""
    if isinstance(value, str):
        return errors.each_invalid(path, value, formats.percent(value))
    return errors.non_negative(path, value)


def check_at_most_all(value: int | str, path: str) -> list[Cause]:
    """Check that a percentage is not over 100; numbers have no upper limit."""
    if not isinstance(value, str) or _number(value) <= _ALL:
        return []
    return [errors.invalid(path, value, "must not be greater than 100%")]


def _number(value: int | str) -> int:
    if isinstance(value, int):
        return value
    return 0 if formats.percent(value) else int(value[:-1])


def _exactly_one(unavailable: int | str, surge: int | str) -> list[Cause]:
    if _number(unavailable) and _number(surge):
        text = "may not be set when maxUnavailable is non-zero"
        return [errors.invalid(f"{_ROLLING}.maxSurge", surge, text)]
    if not _number(unavailable) and not _number(surge):
        text = "cannot be 0 when maxSurge is 0"
        return [errors.required(f"{_ROLLING}.maxUnavailable", text)]
    return []
