"""`prometheus`: a query whose values the conditions judge, or alerts that must not fire.

A query that returns nothing, NaN, or samples from before the change says nothing about the
change: no data. Right after the change there may be no newer sample yet; then the gate waits, and
so it does instead of passing while a window of the query still reaches back before the change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rollout.gates.alerts import measure_alerts
from rollout.gates.conditions import Judgement, judge
from rollout.gates.context import Context, variables
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.outside import OutsideError
from rollout.gates.promserver import Data, Line, Sample, decode, fetch
from rollout.gates.verdict import ERROR_RETRY_S
from rollout.gatespec import PrometheusGate
from rollout.gatespec.promql import AGE, Value, longest_window, render, selectors
from rollout.quantity import cut, format_duration, parse_duration

CLOCK_S = 2.0  # by which the two servers' clocks may differ: the change is known to the second
_EPOCH = 1e9  # 2001: a number below it is no time stamp
_GRAVITY = (
    Outcome.PASSED,
    Outcome.NO_DATA,
    Outcome.INCONCLUSIVE,
    Outcome.ERROR,
    Outcome.FAILED,
)


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer.

    Attributes:
        labels: what tells it from others.
        result: a number, or the numbers of a range.
        newest: time of its newest sample, as the answer says it.
    """

    labels: Mapping[str, str]
    result: float | tuple[float, ...]
    newest: float


def measure(gate: PrometheusGate, context: Context) -> Measurement:
    """Ask the server once.

    Raises:
        OutsideError: there's no answer that can be believed.
    """
    if gate.alerts is not None:
        return measure_alerts(gate, gate.alerts, context)
    try:
        query = render(gate.query, values_of(context))
    except ValueError as error:
        raise OutsideError(f"query: {error}") from None
    end = time.monotonic() + parse_duration(gate.timeout)
    if gate.range is not None and context.since + longest_window(query) > context.now:
        return _wait_for_window(context, context.since + longest_window(query))
    series = (
        _range(gate, query, context) if gate.range is not None else _instant(gate, query, context)
    )
    if not series:
        return Measurement(Outcome.NO_DATA, context.now, reason="the query returned no series")
    behind = context.since - min(item.newest for item in series)
    if 0 < behind <= CLOCK_S:
        text = "the server's clock is not past the change yet"
        return Measurement(
            Outcome.WAITING, context.now, _shown(series), text, again_at=context.now + behind
        )
    stale = _stale(gate, series, context)
    if stale:
        return Measurement(Outcome.NO_DATA, context.now, _shown(series), stale)
    outcome, reason = _verdict(gate, series, context)
    found = Measurement(outcome, context.now, _shown(series), reason)
    return _if_new(gate, query, context, found, end) if outcome is Outcome.PASSED else found


def values_of(context: Context) -> dict[str, Value]:
    """Return what the placeholders of a query stand for."""
    sets = context.daemon_sets
    found: dict[str, Value] = {
        "namespace": context.namespace,
        "run": context.run,
        "plan": context.plan,
        "daemonsets": tuple(d.name for d in sets),
        "nodes": context.updated_nodes,
    }
    if context.since > 0:  # there has been a change
        found[AGE] = f"{max(1, math.floor(context.now - context.since))}s"
    if len(sets) == 1:
        found |= {"daemonset": sets[0].name, "revision": sets[0].new_revision}
        found["oldRevision"] = sets[0].old_revision
    if context.wave is not None:
        found["wave"] = context.wave.name
    if context.node is not None:
        found["node"] = context.node.metadata.name
    return found


def _instant(gate: PrometheusGate, query: str, context: Context) -> list[Series]:
    data = fetch(gate, context, "query", {"query": query}, Data)
    if data.result_type == "scalar":
        at, text = decode(data.result, tuple[float, str])
        return [Series({}, _number(text), at)]
    if data.result_type != "vector":
        raise OutsideError(f"the query gives a {data.result_type}; gates judge numbers")
    samples: list[Sample] = decode(data.result, list[Sample])
    found = []
    for sample in samples:
        if sample.value is None:
            raise OutsideError("the query gives histograms; gates judge numbers")
        found.append(Series(sample.metric, _number(sample.value[1]), sample.value[0]))
    return found


def _range(gate: PrometheusGate, query: str, context: Context) -> list[Series]:
    assert gate.range is not None
    first = context.since + longest_window(query)
    begin = max(context.now - parse_duration(gate.range), first)
    parameters = {
        "query": query,
        "start": f"{begin:.3f}",
        "end": f"{context.now:.3f}",
        "step": f"{parse_duration(gate.step):g}",
    }
    data = fetch(gate, context, "query_range", parameters, Data)
    if data.result_type != "matrix":
        raise OutsideError(f"the range query gives a {data.result_type}, not a matrix")
    lines: list[Line] = decode(data.result, list[Line])
    return [
        Series(line.metric, tuple(_number(v) for _, v in line.values), line.values[-1][0])
        for line in lines
        if line.values
    ]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OutsideError(f"the server gives '{text}' for a number") from None


def _stale(gate: PrometheusGate, series: Sequence[Series], context: Context) -> str:
    """Return why the answer is too old to say anything; "" when it isn't."""
    oldest = min(item.newest for item in series)
    if oldest < context.since:
        ago = format_duration(context.since - oldest)
        return f"a sample is from {ago} before the change"
    if gate.max_age is not None and context.now - oldest > parse_duration(gate.max_age):
        return f"a sample is {format_duration(context.now - oldest)} old, more than maxAge"
    return ""


def _verdict(
    gate: PrometheusGate, series: Sequence[Series], context: Context
) -> tuple[Outcome, str]:
    if gate.series == "one" and len(series) > 1:
        raise OutsideError(
            f"the query returned {len(series)} series; aggregate them, or say series: all or any"
        )
    names = variables(context)
    judged = [(judge(gate, _plain(item.result), names), item) for item in series]
    order = min if gate.series == "any" else max
    decisive = order(
        (found for found, _ in judged), key=lambda found: _GRAVITY.index(found.outcome)
    )
    return decisive.outcome, _reason(decisive, judged)


def _reason(decisive: Judgement, judged: Sequence[tuple[Judgement, Series]]) -> str:
    if len(judged) == 1 or decisive.outcome is Outcome.PASSED:
        return decisive.reason
    same = [_labels(item.labels) for found, item in judged if found.outcome is decisive.outcome]
    return f"{len(same)} of {len(judged)} series: {cut(same, 3)}; {decisive.reason}".rstrip("; ")


def _if_new(
    gate: PrometheusGate, query: str, context: Context, passed: Measurement, end: float
) -> Measurement:
    """Let a measurement pass only on samples that the change could have influenced."""
    reach = context.since + longest_window(query)
    if gate.range is None and reach > context.now:
        return _wait_for_window(context, reach, passed.value)
    oldest = _oldest_sample(gate, query, context, max(0.0, end - time.monotonic()))
    if oldest is None:
        return passed
    if oldest == -math.inf:
        text = "no sample stands behind the value"
        return Measurement(Outcome.NO_DATA, context.now, passed.value, text)
    if oldest < context.since:
        again = context.now + min(parse_duration(gate.interval), ERROR_RETRY_S)
        text = "not every series has a sample that is newer than the change"
        return Measurement(Outcome.WAITING, context.now, passed.value, text, again_at=again)
    if gate.max_age is not None and context.now - oldest > parse_duration(gate.max_age):
        text = f"a sample is {format_duration(context.now - oldest)} old, more than maxAge"
        return Measurement(Outcome.NO_DATA, context.now, passed.value, text)
    return passed


def _wait_for_window(context: Context, reach: float, value: str = "") -> Measurement:
    text = "a window of the query still reaches back before the change"
    return Measurement(Outcome.WAITING, context.now, value, text, again_at=reach)


def _oldest_sample(
    gate: PrometheusGate, query: str, context: Context, timeout_s: float
) -> float | None:
    """Return when the series that a query reads were sampled last, the most behind of them.

    The times in an answer are those of the evaluation; only `timestamp()` tells the samples'.
    None where it can't be told: a query without series, or a server that gives no times.
    """
    read = selectors(query)
    if not read:
        return None
    asked = " or ".join(
        f'label_replace(min(timestamp({text})), "selector", "{number}", "", "")'
        for number, text in enumerate(read)
    )
    data = fetch(gate, context, "query", {"query": asked}, Data, timeout_s)
    if data.result_type != "vector":
        return None
    times = [_number(s.value[1]) for s in decode(data.result, list[Sample]) if s.value is not None]
    if not times:
        return -math.inf  # such as `errors or vector(0)` while nobody is scraped
    return min(times) if min(times) > _EPOCH else None


def _plain(result: float | tuple[float, ...]) -> float | list[float]:
    return list(result) if isinstance(result, tuple) else result


def _shown(series: Sequence[Series]) -> str:
    def text(item: Series) -> str:
        numbers = item.result if isinstance(item.result, tuple) else (item.result,)
        return " ".join(f"{number:.6g}" for number in numbers[-5:])

    if len(series) == 1:
        return text(series[0])
    return cut([f"{_labels(item.labels)} {text(item)}" for item in series], 3)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(_pairs(labels)) + "}"


def _pairs(labels: Mapping[str, str]) -> Iterable[str]:
    return (f"{key}={value}" for key, value in sorted(labels.items()) if key != "__name__")
