"""How a run ended as JUnit XML, for the test report of a CI system.

A case for each node, in the suite of its wave, for each gate, and for the run itself. What was
looked at and was bad is a failure, what could not be measured an error, and what the run did not
come to is skipped: so a report never looks better than its run. The numbers in the headers are
counted from the cases below them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepRun, StepState
from rollout.executor.record.recordedgates import RecordedGate
from rollout.executor.result import Result
from rollout.gates.verdict import Status
from rollout.planner.plan import Plan
from rollout.printable import by_lines
from rollout.report.gates import place_text, said_text
from rollout.report.result import outcome_word, summary_text

Kind: TypeAlias = Literal["", "failure", "error", "skipped"]  # "": it passed

_NOT_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # 1.0 has no more
_GATES: dict[str, Kind] = {
    Status.PASSED.value: "",
    Status.FAILED.value: "failure",
    Status.ERROR.value: "error",
    Status.INCONCLUSIVE.value: "error",
}  # all others have no verdict yet: skipped
_RUNS: dict[Outcome, Kind] = {
    Outcome.DONE: "",
    Outcome.DEFERRED: "",
    Outcome.PAUSED: "skipped",
    Outcome.INCONCLUSIVE: "error",
    Outcome.REFUSED: "error",
}  # all others: failure


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        suite: it belongs to.
        group: what kind of thing it is of: a DaemonSet, a kind of gate.
        name: of it.
        kind: how it went.
        why: in one sentence.
        took_s: seconds.
        said: more, for people.
    """

    suite: str
    group: str
    name: str
    kind: Kind
    why: str = ""
    took_s: float = 0.0
    said: str = ""


def junit(plan: Plan, result: Result, code: ExitCode) -> bytes:
    """Return the document.

    Args:
        plan: as it was carried out.
        result: how the run ended.
        code: the exit code that belongs to it.
    """
    name = f"rollout {plan.namespace}/{plan.name}"
    forward = result if result.forward is None else result.forward
    cases = [_run_case(plan, result, code), *_nodes(forward)]
    if forward is not result:
        cases += _nodes(result)
    cases += _gates(result)
    return _document(name, cases, result.duration_s)


def junit_of_error(why: str, code: ExitCode) -> bytes:
    """Return the document of a command that ended without a result: one case, an error.

    Args:
        why: what the command says on standard error.
        code: its exit code.
    """
    case = Case("run", "rollout", "rollout", "error", f"no run (exit code {int(code)}): {why}")
    return _document("rollout", [case], 0.0)


def _document(name: str, cases: Sequence[Case], took_s: float) -> bytes:
    root = Element("testsuites", name=name)
    _count(root, cases, took_s)
    for suite in dict.fromkeys(case.suite for case in cases):
        inside = [case for case in cases if case.suite == suite]
        element = SubElement(root, "testsuite", name=_clean(suite))
        _count(element, inside, sum(case.took_s for case in inside))
        for case in inside:
            _add(element, case)
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _count(element: Element, cases: Iterable[Case], took_s: float) -> None:
    kinds = [case.kind for case in cases]
    element.set("tests", str(len(kinds)))
    element.set("failures", str(kinds.count("failure")))
    element.set("errors", str(kinds.count("error")))
    element.set("skipped", str(kinds.count("skipped")))
    element.set("time", f"{took_s:.3f}")


def _add(suite: Element, case: Case) -> None:
    names = {"classname": _clean(case.group), "name": _clean(case.name)}
    element = SubElement(suite, "testcase", {**names, "time": f"{case.took_s:.3f}"})
    if case.kind:
        SubElement(element, case.kind, message=_clean(case.why))
    if case.said:
        SubElement(element, "system-out").text = _clean(case.said)


def _clean(text: str) -> str:
    """Take out what no XML document can hold, escaped or not."""
    return _NOT_XML.sub("?", by_lines(text))


def _run_case(plan: Plan, result: Result, code: ExitCode) -> Case:
    finish = result.finish
    return Case(
        suite="run",
        group=f"{plan.namespace}/{plan.name}",
        name=f"rollout {plan.name}",
        kind=_RUNS.get(finish.outcome, "failure"),
        why=f"{finish.outcome.value} (exit code {int(code)}): {result.cause or finish.text}",
        took_s=result.duration_s,
        said=summary_text(plan, result),
    )


def _nodes(result: Result) -> Iterator[Case]:
    plan = result.plan
    keys = {ds.name: ds.key for ds in plan.daemon_sets}
    for run in result.steps:
        kind, why = _node_kind(result, run)
        yield Case(
            suite=_wave(plan, run.step.wave),
            group=keys[run.step.daemon_set],
            name=run.node,
            kind=kind,
            why=why,
            took_s=run.ended_at - run.started_at if run.ended_at and run.replaced_uid else 0.0,
        )
    for ds in plan.daemon_sets:
        for node in ds.nodes:
            if node.fate == "deferred":
                yield Case("left out", ds.key, node.name, "skipped", f"deferred: {node.reason}")


def _wave(plan: Plan, number: int) -> str:
    if plan.goes_back:
        return "way back"
    return f"wave {number}: {plan.waves[number - 1].name}"


def _node_kind(result: Result, run: StepRun) -> tuple[Kind, str]:
    if run.state is StepState.DONE:
        return "", ""
    word = outcome_word(result, run)
    why = f"{word}: {run.reason}" if run.reason else word
    return ("failure" if run.state is StepState.FAILED else "skipped"), why


def _gates(result: Result) -> Iterator[Case]:
    names = result.gate_waves
    for gate in result.gates:
        kind = _GATES.get(gate.status, "skipped")
        tried = gate.dry_run and kind in ("failure", "error")  # it decides nothing
        yield Case(
            suite="gates",
            group=f"gate {gate.kind}",
            name=f"{gate.gate} {_place(names, gate)}",
            kind="skipped" if tried else kind,
            why=f"{gate.status}{' (dry run)' if gate.dry_run else ''}: {gate.reason}",
            said="\n".join(
                f"{one.at}  {one.outcome}  {said_text(one.value, one.reason)}"
                for one in gate.measurements
            ),
        )


def _place(waves: Sequence[str], gate: RecordedGate) -> str:
    known = 0 < gate.wave <= len(waves)
    return place_text(gate.at, waves[gate.wave - 1] if known else "", gate.node)
