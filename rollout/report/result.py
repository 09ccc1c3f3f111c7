"""How a run ended, node by node, for people."""

from __future__ import annotations

from rollout.executor.engine.state import Lane, StepRun, StepState
from rollout.executor.result import GONE, Result
from rollout.planner.plan import Plan
from rollout.printable import by_lines
from rollout.quantity import cut, format_duration
from rollout.report.accounts import time_text
from rollout.report.gates import results_text
from rollout.report.table import text_table

_WORDS = {
    StepState.DONE: "updated",
    StepState.FAILED: "failed",
    StepState.GONE: "gone",
    StepState.SKIPPED: "skipped",
    StepState.BLOCKED: "not reached",
    StepState.READY: "not reached",
}


def result_text(plan: Plan, result: Result) -> str:
    """Return the final table and the sentence that sums it up."""
    rows = [
        (
            run.node,
            run.step.daemon_set,
            str(run.step.wave),
            _word(plan, result, run),
            _took(run),
            run.reason,
        )
        for run in result.steps
    ]
    rows += [
        (node.name, ds.name, "-", "deferred", "-", node.reason)
        for ds in plan.daemon_sets
        for node in ds.nodes
        if node.fate == "deferred"
    ]
    headers = ("NODE", "DAEMONSET", "WAVE", "RESULT", "TOOK", "REASON")
    said = results_text(result.gates, result.gate_waves)
    gates = f"\n\n{said}" if said else ""
    return by_lines(f"{text_table(headers, rows)}{gates}\n\n{summary_text(plan, result)}")


def outcome_word(result: Result, run: StepRun) -> str:
    """Return what happened to a node in one word."""
    if result.unseen and run.state in (StepState.BLOCKED, StepState.READY):
        return "not looked at"  # an earlier part of the run may have updated it
    if run.state is StepState.DONE and not run.replaced_uid:
        return "by others" if run.by_others else "verified"
    if run.state is StepState.READY and run.lane is Lane.VERIFY:
        return "not verified"  # it has the new pod since an earlier part of the run
    return _WORDS.get(run.state, "in flight")


def _word(plan: Plan, result: Result, run: StepRun) -> str:
    word = outcome_word(result, run)
    return "back" if plan.goes_back and word == "updated" else word


def summary_text(plan: Plan, result: Result) -> str:
    """Return the result in one paragraph."""
    lines = [f"{result.finish.outcome.value.capitalize()}: {_how_far(plan, result)}."]
    if result.cause:
        lines.append(f"It went back because {result.cause}.")
    lines += [_strategy_text(ds.key, result.strategies[ds.name]) for ds in plan.daemon_sets]
    lines += [*time_text(result.account)]
    early = result.joined_too_early
    if early:
        rolls = all(kind == "RollingUpdate" for kind in result.strategies.values())
        who = "the controller replaces it now" if rolls else "the next plan takes them up"
        lines.append(
            "Joined before the new template was set, and have a pod of the old one: "
            f"{cut(early)}; {who}."
        )
    if late := [node for node in result.joined if node not in early]:
        lines.append(
            f"Joined during the run, updated by the controller, not verified: {cut(late)}."
        )
    return "\n".join(lines)


def _how_far(plan: Plan, result: Result) -> str:
    took, message = format_duration(result.duration_s), result.finish.message
    verb = "are back" if plan.goes_back else "updated"
    if result.unseen:
        before, total = result.earlier, len(result.steps)
        known = f"{before.updated} of {before.total} nodes {verb} before, " if before else ""
        return f"{known}none of {total} looked at in {took}: {message}"
    done = sum(run.state is StepState.DONE for run in result.steps)
    when = "after" if plan.goes_back else "in"
    return f"{done} of {len(result.steps)} nodes {verb} {when} {took}: {message}"


def _strategy_text(key: str, strategy: str) -> str:
    if strategy == GONE:
        return f"DaemonSet {key}, as this run knew it, does not exist any more."
    return f"The strategy of DaemonSet {key} is {strategy}."


def _took(run: StepRun) -> str:
    if not run.ended_at or not run.replaced_uid:
        return "-"
    return format_duration(run.ended_at - run.started_at)
