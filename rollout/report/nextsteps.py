"""Which commands lead on from where a run has ended, and which back. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepState
from rollout.executor.record.recordedgates import RecordedGate
from rollout.executor.result import GONE, Result
from rollout.gates.verdict import Status
from rollout.planner.plan import Plan

_NEW_PLAN = "rollout plan -f SPEC --out PLAN"
_NAMED = 20  # failed nodes in one command
_RETRY = "lets it try again where it failed"
_ENFORCE = "sets OnDelete again and holds; 'resume' goes on after that"


@dataclass(frozen=True, slots=True)
class NextStep:
    """One command line, and what it is for."""

    command: str
    purpose: str


def next_steps(
    plan: Plan, result: Result, where: str, *, begun: bool, walk: str = ""
) -> list[NextStep]:
    """Return what can be done next about a run that is not done; nothing about one that is.

    Args:
        plan: that was carried out; a way back, where the run went back.
        result: how it ended.
        where: options that lead to the cluster and the namespace, ready for a shell.
        begun: whether there is a run record that the commands find; somebody may have deleted it.
        walk: the command that goes on node by node, where the run did so.
    """
    name = shlex.quote(plan.name)

    def to_run(verb: str, purpose: str, more: str = "") -> NextStep:
        return NextStep(" ".join(filter(None, ("rollout", verb, name, more, where))), purpose)

    # Nobody who is asked before each node wants it to go on without a question.
    asking = NextStep(f"{walk} {where}", "goes on there, with the next question")
    on = asking if walk else to_run("resume", "goes on where it stopped")
    back = to_run("rollback", "takes the touched nodes back to the old template")
    anew = NextStep(_NEW_PLAN, "makes a plan for the cluster as it is now")
    if not begun:
        return _without_record(plan, result, anew, where)
    if plan.goes_back:
        return _on_the_way_back(result, on, to_run("rollback", "tries the rest again"))
    match result.finish.outcome:
        case Outcome.HELD if failed := _failed(result):
            nodes = shlex.join(failed[:_NAMED])
            which = f" (the first {_NAMED} of {len(failed)})" if len(failed) > _NAMED else ""
            return [
                to_run("retry", _RETRY),
                to_run(
                    "skip", f"lets it leave the failed nodes alone{which}", f"{nodes} --reason WHY"
                ),
                replace(on, purpose="goes on after that"),
                back,
            ]
        case Outcome.HELD | Outcome.INCONCLUSIVE | Outcome.DEADLINE | Outcome.REFUSED:
            return [on, back]
        case Outcome.PAUSED:
            again = [to_run("retry", _RETRY)] if _failed(result) else []
            return [*_approvals(plan, result, where), *again, on, back]
        case Outcome.DRIFT:
            end = to_run("abort", "ends the run; what is updated stays so")
            return _after_drift(
                result, on, anew, end, back, to_run("resume", _ENFORCE, "--enforce-strategy")
            )
        case Outcome.ABORTED:
            return [anew, back]
        case Outcome.FAILED_NODES:
            return [anew]
        case _:
            return []


def _without_record(plan: Plan, result: Result, anew: NextStep, where: str) -> list[NextStep]:
    """Return what leads on where there is no run to speak to."""
    outcome = result.finish.outcome
    if not result.wrote or outcome in (Outcome.DONE, Outcome.DEFERRED):
        return [anew] if outcome is Outcome.DRIFT else []
    back = "goes back to the revision before"
    undo = [f"rollout undo {shlex.quote(ds.name)} {where}" for ds in plan.daemon_sets]
    return [anew, *(NextStep(command, back) for command in undo)]


def _after_drift(
    result: Result, on: NextStep, anew: NextStep, end: NextStep, back: NextStep, enforce: NextStep
) -> list[NextStep]:
    if result.finish.resumes:  # nothing of the DaemonSets has changed
        return [on, back]
    drifted = [ds for ds in result.sets.values() if ds.has_drifted]
    if not drifted and any(ds.reasserted for ds in result.sets.values()):
        return [on, back]
    if drifted and all(ds.live is not None and ds.is_turned_back(ds.live) for ds in drifted):
        return [enforce, end, back]
    return [anew, end] if GONE in result.strategies.values() else [anew, end, back]


def _on_the_way_back(result: Result, on: NextStep, again: NextStep) -> list[NextStep]:
    match result.finish.outcome:
        case Outcome.ROLLBACK_INCOMPLETE:
            return [again]
        case Outcome.ROLLED_BACK | Outcome.DONE | Outcome.DEFERRED | Outcome.FAILED_NODES:
            return []
        case _:  # an undo, which is a run of its own
            return [on]


def _failed(result: Result) -> list[str]:
    failed = (run.node for run in result.steps if run.state is StepState.FAILED)
    return list(dict.fromkeys(failed))


def _approvals(plan: Plan, result: Result, where: str) -> list[NextStep]:
    """Return how to approve what the run waits for."""
    wanted = []
    if result.unapproved:
        wanted.append(shlex.quote(plan.wave_word(result.unapproved)))
    gates = dict.fromkeys(gate.gate for gate in result.gates if _waits_for_people(gate))
    voice = "a voice of those asked, not of the plan's author"
    steps = [(f"--wave {wave}", "lets it pass; then it can be resumed") for wave in wanted]
    steps += [(f"--gate {shlex.quote(gate)}", voice) for gate in gates]
    name = shlex.quote(plan.name)
    return [NextStep(f"rollout approve {name} {what} {where}", why) for what, why in steps]


def _waits_for_people(gate: RecordedGate) -> bool:
    return gate.kind == "approval" and not Status(gate.status).final
