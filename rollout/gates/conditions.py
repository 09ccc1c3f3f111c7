"""Conditions of gates: CEL, the expression language that Kubernetes' users know. Pure.

`successCondition` and `failureCondition` see `result`, `node`, `wave` and `revisions`, and nothing
else. Numbers compare with each other whatever their type, as in Kubernetes' own CEL. What can't be
evaluated is an error, what is not a number is no data: neither ever passes.
"""

from __future__ import annotations

import functools
import math
import operator
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.gates.measurement import Outcome, plain
from rollout.gatespec.base import GateBase, ThresholdRange

VARIABLES = ("result", "node", "wave", "revisions")
LONGEST = 1000  # characters of an expression
DEEPEST = 40  # brackets within each other
MOST_OPERATORS = 100
MOST_LOOPS = 2  # macros within each other; each runs over the whole result
MOST_STEPS = 20_000  # operators that are evaluated: about three seconds of a busy machine
MOST_VALUES = 100_000  # of a result that no loop runs over
_LOOPS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_MACROS = _LOOPS | {"has", "dyn", "reduce", "min"}
_TYPES = frozenset({"bool", "bytes", "double", "duration", "int", "list", "map", "null_type"}) | {
    *("string", "timestamp", "type", "uint")
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "_==_": operator.eq,
    "_!=_": operator.ne,
}
_OPERATOR = re.compile(r"&&|\|\||[<>=!]=|[-+*/%<>!?.\[]|\bin\b")
_PARSER = threading.Lock()  # the parser keeps the text that it reads


class ConditionError(ValueError):
    """An expression can't be used; says where in it and why."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the conditions of a gate say about a value."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled condition."""

    text: str
    operators: int
    loops: int  # macros within each other
    program: Any  # celpy.Runner, which has no types

    @property
    def most_values(self) -> int:
        """How large a result may be for an evaluation to take no more than seconds."""
        if not self.loops:
            return MOST_VALUES
        steps: float = (MOST_STEPS / self.operators) ** (1 / self.loops)
        return int(steps)

    def holds(self, variables: Mapping[str, object]) -> bool:
        """Evaluate it.

        Args:
            variables: plain data for `result`, `node`, `wave` and `revisions`.

        Raises:
            ConditionError: when it can't be evaluated, or isn't true or false.
        """
        from celpy import celtypes  # noqa: PLC0415 - takes a quarter of a second; few need it
        from celpy.adapter import json_to_cel  # noqa: PLC0415

        most = self.most_values
        if _size(variables.get("result")) > most:
            raise ConditionError(
                f"'{plain(self.text)}' would take too long on more than {most} values; ask for less"
            )
        try:
            given = {name: json_to_cel(value) for name, value in variables.items()}  # type: ignore[arg-type] # plain data
            answer = self.program.evaluate(given)
        except Exception as error:  # celpy documents one type, and lets Python's own through
            raise ConditionError(f"'{plain(self.text)}': {_said(error)}") from error
        if not isinstance(answer, celtypes.BoolType):
            raise ConditionError(f"'{plain(self.text)}' is neither true nor false; compare it")
        return bool(answer)


def check(gate: GateBase) -> None:
    """Compile the conditions of a gate, so that a mistake shows before anything runs.

    Raises:
        ConditionError: `field: what is wrong`.
    """
    for field, text in (
        ("successCondition", gate.success_condition),
        ("failureCondition", gate.failure_condition),
    ):
        if text is not None:
            try:
                compile_condition(text)
            except ConditionError as error:
                raise ConditionError(f"{field}: {error}") from None


@functools.lru_cache(maxsize=1024)
def compile_condition(text: str) -> Expression:
    """Compile an expression.

    Raises:
        ConditionError: it isn't CEL, or names something that doesn't exist.
    """
    import celpy  # noqa: PLC0415 - as above
    from celpy.celparser import CELParseError  # noqa: PLC0415 - as above

    operators = _check_size(text)
    with _PARSER:
        environment = celpy.Environment()
        try:
            tree = environment.compile(text)
            loops = _check_names(tree)
            program = environment.program(tree, functions=_comparisons())
        except CELParseError as error:
            raise ConditionError(_where(text, error.line, error.column)) from None
        except RecursionError:
            raise ConditionError("it is nested too deeply; write it simpler") from None
    return Expression(text, operators, loops, program)


def has_conditions(gate: GateBase) -> bool:
    """Whether the spec says how a value is judged."""
    return bool(gate.success_condition or gate.failure_condition or gate.threshold_range)


def judge(gate: GateBase, result: object, variables: Mapping[str, object]) -> Judgement:
    """Judge a value by the conditions of a gate, which has at least one.

    As in Argo Rollouts: a failure condition that holds fails, whatever the other says; with
    both, a value for which neither holds is inconclusive; a single one decides alone. A value
    that is missing or not a number is no data, and an infinite one never passes.

    Args:
        gate: with the conditions.
        result: plain data.
        variables: the other names that a condition may use.
    """
    if result is None:
        return Judgement(Outcome.NO_DATA, "there is no value")
    if any(isinstance(value, float) and math.isnan(value) for value in _values(result)):
        return Judgement(Outcome.NO_DATA, "the value is not a number (NaN)")
    try:
        found = _judge(gate, result, {**variables, "result": result})
    except ConditionError as error:
        return Judgement(Outcome.ERROR, plain(str(error)))
    infinite = any(isinstance(value, float) and math.isinf(value) for value in _values(result))
    if found.outcome is Outcome.PASSED and infinite:
        return Judgement(Outcome.NO_DATA, "the value is infinite")
    return found


def _judge(gate: GateBase, result: object, variables: Mapping[str, object]) -> Judgement:
    if gate.threshold_range is not None:
        return _in_range(gate.threshold_range, result)
    success, failure = gate.success_condition, gate.failure_condition
    if failure is not None and compile_condition(failure).holds(variables):
        return Judgement(Outcome.FAILED, f"failureCondition holds: {plain(failure)}")
    if success is None:
        return Judgement(Outcome.PASSED)
    if compile_condition(success).holds(variables):
        return Judgement(Outcome.PASSED)
    if failure is not None:
        return Judgement(Outcome.INCONCLUSIVE, "neither condition holds")
    return Judgement(Outcome.FAILED, f"successCondition does not hold: {plain(success)}")


def _in_range(limits: ThresholdRange, result: object) -> Judgement:
    if isinstance(result, bool) or not isinstance(result, int | float):
        raise ConditionError("thresholdRange: the value is not a number; use a condition")
    if limits.min is not None and result < limits.min:
        return Judgement(Outcome.FAILED, f"below the range's min {limits.min:g}")
    if limits.max is not None and result > limits.max:
        return Judgement(Outcome.FAILED, f"above the range's max {limits.max:g}")
    return Judgement(Outcome.PASSED)


def _check_size(text: str) -> int:
    """Refuse what would take long to read or nest too deeply; return how many operators it has."""
    if len(text) > LONGEST:
        raise ConditionError(f"it is longer than {LONGEST} characters; write it simpler")
    operators = 1 + len(_OPERATOR.findall(text))
    if operators > MOST_OPERATORS:
        raise ConditionError(f"it has more than {MOST_OPERATORS} operators; write it simpler")
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ConditionError(f"brackets are nested deeper than {DEEPEST}; write it simpler")
    return operators


def _where(text: str, line: int | None, column: int | None) -> str:
    shown = plain(text)
    if line is None or column is None or line < 0:
        return f"not CEL: '{shown}' ends too early"
    row = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
    rest = plain(row[column - 1 :], 40) if 0 < column <= len(row) else ""
    spot = f"near '{rest}'" if rest else "at its end"
    return f"not CEL: '{shown}' is wrong {spot} (line {line}, column {column})"


def _check_names(tree: Any) -> int:  # noqa: ANN401 - lark's tree, of a library without types
    """Refuse names and functions that don't exist; return how deep loops stand in each other."""
    bound = {name for call in tree.iter_subtrees() for name in _bound(call)}
    for part in tree.iter_subtrees():
        name = str(part.children[0]) if part.children else ""
        if part.data == "ident" and name not in {*VARIABLES, *_TYPES, *bound}:
            raise ConditionError(f"'{name}' is unknown; known are {', '.join(VARIABLES)}")
        if part.data in ("dot_ident", "dot_ident_arg", "member_object"):
            raise ConditionError("names with a leading dot and typed objects are not used here")
        called = {"ident_arg": 0, "member_dot_arg": 1}.get(part.data)
        if called is not None and str(part.children[called]) not in _functions():
            raise ConditionError(f"'{part.children[called]}' is not a function of CEL")
    loops = _loops(tree)
    if loops > MOST_LOOPS:
        raise ConditionError(f"more than {MOST_LOOPS} loops within each other; write it simpler")
    return loops


def _bound(part: Any) -> Iterator[str]:  # noqa: ANN401 - as above
    """Yield the name that a loop (`all(x, ...)`) gives to each value."""
    if part.data == "member_dot_arg" and str(part.children[1]) in _LOOPS:
        arguments = part.children[2]
        if arguments is not None and arguments.children:
            for token in arguments.children[0].scan_values(bool):
                yield str(token)
                return


def _loops(part: Any) -> int:  # noqa: ANN401 - as above
    if not hasattr(part, "data"):
        return 0
    inner = max((_loops(child) for child in part.children), default=0)
    return inner + (part.data == "member_dot_arg" and str(part.children[1]) in _LOOPS)


@functools.cache
def _functions() -> frozenset[str]:
    from celpy.evaluation import base_functions  # noqa: PLC0415 - as above

    return frozenset(base_functions) | _MACROS


@functools.cache
def _comparisons() -> dict[str, Any]:
    """Comparisons that take an int and a double, which celpy refuses (CEL's spec allows it)."""
    from celpy import celtypes, evaluation  # noqa: PLC0415 - as above

    numbers = (celtypes.IntType, celtypes.UintType, celtypes.DoubleType)
    truths = {celtypes.BoolType, bool}

    def plain_number(value: Any) -> int | float:  # noqa: ANN401 - one of the above
        return float(value) if isinstance(value, celtypes.DoubleType) else int(value)

    def comparison(name: str) -> Callable[[Any, Any], Any]:
        own = evaluation.base_functions[name]
        compare = _COMPARISONS[name]

        def apply(left: Any, right: Any) -> Any:  # noqa: ANN401 - CEL values
            if {type(left), type(right)} & truths and {type(left), type(right)} & set(numbers):
                raise TypeError("found no matching overload")  # Python takes true for 1
            mixed = isinstance(left, numbers) and isinstance(right, numbers)
            if mixed and type(left) is not type(right):
                return celtypes.BoolType(compare(plain_number(left), plain_number(right)))
            return own(left, right)

        return apply

    return {name: comparison(name) for name in _COMPARISONS}


def _values(value: object) -> Iterator[object]:
    """Yield all values inside plain data, itself included."""
    left = [value]
    while left:
        item = left.pop()
        yield item
        if isinstance(item, Mapping):
            left.extend(item.values())
        elif isinstance(item, list | tuple):
            left.extend(item)


def _size(value: object) -> int:
    return sum(1 for _ in _values(value))


def _said(error: Exception) -> str:
    """Return what celpy says, without the dump of all variables that it adds."""
    text = str(error.args[0]) if error.args else type(error).__name__
    if text.startswith("found no matching overload"):
        return "compares or combines values of different types (a whole 100 is not 100.0)"
    return plain(text.partition(" (in activation")[0], 120)
