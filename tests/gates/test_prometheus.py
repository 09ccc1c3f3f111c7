"""The kind `prometheus` against answers that a test writes; test_prometheus_real has a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rollout.gates.alerts import never_opens
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from tests.cluster.world import CERTIFICATE, Asked, Raw, Reply, Streamed, World, serve
from tests.fleet.builders import make_node
from tests.gates.worlds import NOW, a_context, a_gate

Data = dict[str, Any]
Answers = Callable[[str], Any]  # query -> data


def vector(*values: Any, at: float = NOW - 1) -> Data:
    result = [
        {"metric": {"instance": f"i{number}"}, "value": [at, str(value)]}
        for number, value in enumerate(values)
    ]
    return {"resultType": "vector", "result": result}


@contextmanager
def prometheus(answer: Answers) -> Iterator[World]:
    """Serve one answer a query; every series was sampled a second ago unless the test says else."""

    def scenario(asked: Asked) -> Any:
        query = asked.query.get("query", "")
        found = answer(query)
        if found is None and "timestamp(" in query:
            found = vector(NOW - 1)
        if isinstance(found, Reply | Raw | Streamed):
            return found
        return Reply({"status": "success", "data": found})

    with serve(scenario, tls=True) as world:
        yield world


def look(world: World, *, context: Any = None, **fields: Any) -> Measurement:
    wanted: dict[str, Any] = {"query": "errors", "successCondition": "result < 0.01", **fields}
    if "thresholdRange" in fields or "failureCondition" in fields or "alerts" in fields:
        del wanted["successCondition"]
    if "alerts" in fields:
        del wanted["query"]
    wanted = {"url": world.url, "tls": {"caFile": str(CERTIFICATE)}, **wanted}
    return measure(a_gate("prometheus", **wanted), context or a_context())


def measured(data: Any, *, sampled: Any = None, **fields: Any) -> Measurement:
    """Measure with an answer to the query, and one to the question how old the samples are."""
    with prometheus(lambda query: sampled if "timestamp(" in query else data) as world:
        return look(world, **fields)


def test_a_value_is_judged_by_the_condition() -> None:
    good, bad = measured(vector(0.001)), measured(vector(0.5))
    assert (good.outcome, good.value) == (Outcome.PASSED, "0.001")
    assert (bad.outcome, bad.value) == (Outcome.FAILED, "0.5")
    assert bad.reason == "successCondition does not hold: result < 0.01"
    assert measured({"resultType": "scalar", "result": [NOW, "0.5"]}).outcome is Outcome.FAILED


def test_commands_22_no_series_is_no_data() -> None:
    found = measured(vector())
    assert (found.outcome, found.reason) == (Outcome.NO_DATA, "the query returned no series")


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("NaN", Outcome.NO_DATA), ("+Inf", Outcome.FAILED), ("-Inf", Outcome.NO_DATA)],
)
def test_faults_48_what_is_not_a_number_never_passes(value: str, outcome: Outcome) -> None:
    assert measured(vector(value)).outcome is outcome
    assert measured(vector(value), thresholdRange={"max": 1}).outcome is not Outcome.PASSED
    assert measured(vector("NaN"), failureCondition="result > 1").outcome is Outcome.NO_DATA


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (vector("much"), "gives 'much' for a number"),
        (Reply(b"<html>", 200), "answers 200 and not as Prometheus does"),
        (Reply(b"{}", 200), "not as Prometheus does"),
        (Reply(b"", 502), "answers 502"),
        (Reply({"status": "error", "error": "parse \x1b[1merror"}, 400), "400: parse [1merror"),
        (Reply(b"", 302, {"Location": "https://evil/"}), "the server redirects (302)"),
        (Reply({"status": "success"}), "not what Prometheus documents"),
        ({"resultType": "vector", "result": "none"}, "not what Prometheus documents"),
        ({"resultType": "string", "result": [NOW, "x"]}, "gives a string"),
        ({"resultType": "vector", "result": [{"metric": {}}]}, "gives histograms"),
        (Reply({"status": "success", "data": vector(0), "warnings": ["half"]}), "incomplete: half"),
        (Raw(b"nonsense"), "not HTTP"),
        (Streamed([b'{"status"'], cut=True), "cut short"),
    ],
)
def test_an_answer_that_cannot_be_believed_is_an_error(answer: Any, reason: str) -> None:
    with prometheus(lambda _: answer) as world:
        found = look(world)
    assert found.outcome is Outcome.ERROR
    assert reason in found.reason


def test_nodes_20_a_server_that_is_not_there_is_an_error() -> None:
    with prometheus(lambda _: vector(0)) as world:
        pass
    assert look(world).outcome is Outcome.ERROR


def test_several_series_need_an_explicit_rule() -> None:
    some = vector(0.001, 0.5, 0.002)
    none = measured(some)
    assert none.outcome is Outcome.ERROR
    assert "3 series; aggregate them, or say series: all or any" in none.reason
    every = measured(some, series="all")
    assert every.outcome is Outcome.FAILED
    assert every.reason.startswith("1 of 3 series: {instance=i1}; successCondition does not hold")
    assert measured(some, series="any").outcome is Outcome.PASSED
    assert measured(vector(0.5, 0.6), series="any").outcome is Outcome.FAILED
    assert measured(vector(0.001, "NaN"), series="all").outcome is Outcome.NO_DATA


def test_nodes_67_an_answer_from_before_the_change_is_no_data() -> None:
    found = measured(vector(0.001, at=NOW - 120))
    assert found.outcome is Outcome.NO_DATA
    assert found.reason == "a sample is from 1m before the change"


def test_a_server_whose_clock_is_a_little_behind_is_waited_for() -> None:
    found = measured(vector(0.5, at=NOW - 60.5))
    assert (found.outcome, found.again_at) == (Outcome.WAITING, NOW + 0.5)
    assert measured(vector(0.5, at=NOW - 63)).outcome is Outcome.NO_DATA


def test_faults_50_a_sample_older_than_max_age_is_no_data() -> None:
    assert measured(vector(0.001, at=NOW - 40), maxAge="30s").outcome is Outcome.NO_DATA
    old = measured(vector(0.001), sampled=vector(NOW - 40), maxAge="30s")
    assert (old.outcome, old.reason) == (
        Outcome.NO_DATA,
        "a sample is 40s old, more than maxAge",
    )


def test_the_gate_waits_for_the_first_sample_after_the_change_of_every_series() -> None:
    found = measured(vector(0.001), sampled=vector(NOW - 1, NOW - 61))
    assert found.outcome is Outcome.WAITING
    assert found.again_at == NOW + 10
    assert "newer than the change" in found.reason
    assert measured(vector(0.5), sampled=vector(NOW - 61)).outcome is Outcome.FAILED  # at once


def test_a_value_behind_which_nobody_was_sampled_is_no_data() -> None:
    found = measured(vector(0), query="sum(rate(errors[30s])) or vector(0)", sampled=vector())
    assert (found.outcome, found.reason) == (Outcome.NO_DATA, "no sample stands behind the value")


def test_the_age_is_asked_for_every_series_of_the_query_and_only_to_pass() -> None:
    query = 'sum(rate(errors{job="a"}[30s])) / sum(rate(requests[30s]))'
    with prometheus(lambda query: None if "timestamp(" in query else vector(0.001)) as world:
        assert look(world, query=query).outcome is Outcome.PASSED
    ages = (
        'label_replace(min(timestamp(errors{job="a"})), "selector", "0", "", "") or '
        'label_replace(min(timestamp(requests)), "selector", "1", "", "")'
    )
    assert [asked.query["query"] for asked in world.asked] == [query, ages]
    with prometheus(lambda _: vector(0.5)) as world:
        look(world, query=query)
    assert len(world.asked) == 1


def test_a_server_with_fixed_answers_is_believed_by_the_times_in_them() -> None:
    assert measured(vector(0.001), sampled=vector(0.001)).outcome is Outcome.PASSED


def test_a_window_that_reaches_back_before_the_change_fails_but_does_not_pass() -> None:
    query = "rate(errors[5m])"
    found = measured(vector(0.001), query=query)
    assert (found.outcome, found.again_at) == (Outcome.WAITING, NOW - 60 + 300)
    assert "reaches back before the change" in found.reason
    assert measured(vector(0.5), query=query).outcome is Outcome.FAILED
    assert measured(vector(0.001), query="rate(errors[{{age}}])").outcome is Outcome.PASSED
    no_change = a_context(since=0.0)
    assert measured(vector(0.001), query=query, context=no_change).outcome is Outcome.PASSED
    aged = measured(vector(0.001), query="rate(errors[{{age}}])", context=no_change)
    assert (aged.outcome, aged.reason) == (
        Outcome.ERROR,
        "query: {{age}} has no value here; it needs a run that has begun",
    )


def test_a_range_query_asks_from_the_change_on_and_gives_its_numbers() -> None:
    lines = [{"metric": {}, "values": [[NOW - 10, "0.1"], [NOW, "0.3"]]}]
    data = {"resultType": "matrix", "result": lines}
    with prometheus(lambda query: None if "timestamp(" in query else data) as world:
        found = look(
            world,
            range="10m",
            step="5s",
            successCondition="result.all(r, r < 0.5) && size(result) == 2",
        )
    assert (found.outcome, found.value) == (Outcome.PASSED, "0.1 0.3")
    asked = world.asked[0]
    assert asked.path == "/api/v1/query_range"
    assert (asked.query["start"], asked.query["end"], asked.query["step"]) == (
        f"{NOW - 60:.3f}",
        f"{NOW:.3f}",
        "5",
    )
    empty = {"resultType": "matrix", "result": []}
    assert measured(empty, range="10m").outcome is Outcome.NO_DATA
    wide = measured(data, range="10m", query="rate(a[2m])")
    assert (wide.outcome, wide.again_at) == (Outcome.WAITING, NOW + 60)


def test_placeholders_are_filled_in_and_escaped() -> None:
    query = (
        'e{ds="{{daemonset}}",node=~"{{nodes}}",w="{{wave}}",r="{{revision}}",n="{{namespace}}"}'
    )
    context = a_context(updated_nodes=("n1", 'x"} or up{a="'))
    with prometheus(lambda query: None if "timestamp(" in query else vector(0)) as world:
        look(world, query=query, context=context)
    assert world.asked[0].query["query"] == (
        'e{ds="log-agent",node=~"(?:n1|x\\"\\\\}\\\\ or\\\\ up\\\\{a=\\")",'
        'w="canary",r="bbb",n="logging"}'
    )


def test_a_query_for_each_node_names_the_node() -> None:
    fields = {"query": 'e{node="{{node}}"}', "at": "after-node"}
    with prometheus(lambda query: None if "timestamp(" in query else vector(0)) as world:
        found = look(world, **fields, context=a_context(node=make_node("n7")))
    assert found.outcome is Outcome.PASSED
    assert world.asked[0].query["query"] == 'e{node="n7"}'


def test_a_long_query_is_posted() -> None:
    query = " + ".join(f'e{{a="{number}"}}' for number in range(500))
    with prometheus(lambda _: vector(0.5)) as world:
        found = look(world, query=query)
    (asked,) = world.asked
    assert (found.outcome, asked.method, asked.path) == (Outcome.FAILED, "POST", "/api/v1/query")
    assert asked.body == {"query": query}


@pytest.mark.parametrize(
    ("fields", "header"),
    [
        ({}, "Bearer hunter2"),
        ({"auth": "basic", "username": "ann"}, "Basic YW5uOmh1bnRlcjI="),
    ],
)
def test_credentials_come_from_the_secret_and_are_seen_nowhere(
    fields: dict[str, str], header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")

    def tattle(_: str) -> Reply:
        said = world.asked[-1].headers["authorization"]
        return Reply({"status": "error", "error": f"no {said} hunter2"}, 401)

    with prometheus(tattle) as world:
        found = look(world, **fields, secretRef={"env": "TOKEN"})
    assert world.asked[0].headers["authorization"] == header
    assert found.outcome is Outcome.ERROR
    assert "hunter2" not in repr(found)
    assert "aHVudGVyMg" not in repr(found)


def alerts(*found: tuple[str, str]) -> Data:
    listed = [{"labels": {"alertname": n, "team": "a"}, "state": s, "value": "1"} for n, s in found]
    return {"alerts": listed}


def test_nodes_21_an_ignored_alert_does_not_block_and_is_not_named() -> None:
    data = alerts(("A", "firing"), ("B", "firing"), ("C", "pending"))
    found = measured(data, alerts={"ignore": ["A"]})
    assert (found.outcome, found.reason) == (Outcome.FAILED, "B fires")
    assert measured(data, alerts={"ignore": ["A", "B"]}).outcome is Outcome.PASSED
    assert measured(data, alerts={"match": {"team": "b"}}).outcome is Outcome.PASSED
    assert measured({"alerts": None}, alerts={}).outcome is Outcome.ERROR


def test_nodes_22_an_alert_that_fires_because_the_daemonset_is_outdated_is_found() -> None:
    rules = {
        "groups": [
            {
                "rules": [
                    {
                        "name": "Stuck",
                        "query": "kube_daemonset_status_updated_number_scheduled < 9",
                    },
                    {"name": "Other", "query": "up == 0"},
                ]
            }
        ]
    }

    def scenario(asked: Asked) -> Reply:
        data = (
            rules
            if asked.path.endswith("rules")
            else alerts(("Stuck", "firing"), ("Other", "firing"))
        )
        return Reply({"status": "success", "data": data})

    with serve(scenario, tls=True) as world:
        fields = {"url": world.url, "tls": {"caFile": str(CERTIFICATE)}}
        before = a_gate("prometheus", **fields, alerts={}, at="before-wave")
        assert never_opens(before, a_context()) == ["Stuck"]
        ignoring = a_gate("prometheus", **fields, alerts={"ignore": ["Stuck"]}, at="preflight")
        assert never_opens(ignoring, a_context()) == []
        after = a_gate("prometheus", **fields, alerts={})
        assert never_opens(after, a_context()) == []
