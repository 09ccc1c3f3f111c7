"""The kind `prometheus` against a real server: its language, its times, its alerts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from rollout.gates.alerts import never_opens
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gates.verdict import Status, Tally, add, assess, rules_of
from tests.fleet.builders import make_node
from tests.gates.prometheus import Prometheus
from tests.gates.worlds import a_context, a_gate

GOOD = {"successCondition": "result < 0.01"}


def look(
    server: Prometheus, query: str, *, since: float | None = None, **fields: Any
) -> Measurement:
    """Measure now; the change was a minute ago unless the test says else."""
    now = time.time()
    rule = {} if {"failureCondition", "thresholdRange"} & set(fields) else GOOD
    gate = a_gate("prometheus", url=server.url, query=query, **(rule | fields))
    context = a_context(now=now, since=now - 60 if since is None else since)
    if "{{node}}" in query:
        context = replace(context, node=make_node('n"1\\'))
    return measure(gate, context)


def test_a_number_that_turns_bad_is_seen(real_prometheus: Prometheus) -> None:
    good = look(real_prometheus, "error_rate")
    assert (good.outcome, good.value) == (Outcome.PASSED, "0.001")
    real_prometheus.exporter.set("error_rate", 0.2)
    real_prometheus.scraped()
    bad = look(real_prometheus, "error_rate")
    assert (bad.outcome, bad.value) == (Outcome.FAILED, "0.2")


def test_a_rate_over_the_time_since_the_change_is_judged(real_prometheus: Prometheus) -> None:
    query = "sum(rate(errors_total[{{age}}])) / sum(rate(requests_total[{{age}}]))"
    real_prometheus.exporter.set("error_rate", 0.5)
    real_prometheus.scraped(2)
    since = time.time()
    real_prometheus.scraped(10)
    found = look(real_prometheus, query, since=since)
    assert found.outcome is Outcome.FAILED
    assert found.value == "0.5"


def test_nodes_67_samples_from_before_the_change_do_not_pass(real_prometheus: Prometheus) -> None:
    exporter = real_prometheus.exporter
    while True:  # until no scrape came between the change and the look at it
        exporter.scraped(1)
        scrapes, since = exporter.scrapes, time.time() + 0.05
        found = measure(
            a_gate("prometheus", url=real_prometheus.url, query="error_rate", **GOOD),
            a_context(now=since + 0.01, since=since),
        )
        if exporter.scrapes == scrapes:
            break
    assert found.outcome in (Outcome.WAITING, Outcome.NO_DATA)
    real_prometheus.scraped(3)
    assert look(real_prometheus, "error_rate", since=since).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "query",
    [
        "no_such_metric",
        "no_such_metric or vector(0)",
        'sum(rate(no_such_metric{a="b"}[5s])) or vector(0)',
        "not_a_number",
        "error_rate / 0 * 0",
    ],
)
def test_missing_data_and_nan_never_pass(real_prometheus: Prometheus, query: str) -> None:
    real_prometheus.exporter.set("not_a_number", float("nan"))
    real_prometheus.scraped()
    assert look(real_prometheus, query).outcome is Outcome.NO_DATA
    assert look(real_prometheus, query, failureCondition="result > 0.01").outcome is Outcome.NO_DATA


def test_series_that_have_ended_are_no_data(real_prometheus: Prometheus) -> None:
    assert look(real_prometheus, "error_rate").outcome is Outcome.PASSED
    real_prometheus.exporter.break_down()
    real_prometheus.scraped()
    assert look(real_prometheus, "error_rate").outcome is Outcome.NO_DATA


def test_an_infinite_ratio_never_passes(real_prometheus: Prometheus) -> None:
    found = look(real_prometheus, "error_rate / 0", successCondition="result > 0.99")
    assert found.outcome is Outcome.NO_DATA


def test_a_query_that_is_wrong_is_an_error_in_the_servers_words(
    real_prometheus: Prometheus,
) -> None:
    found = look(real_prometheus, "sum(error_rate")
    assert found.outcome is Outcome.ERROR
    assert "the server says 400" in found.reason
    assert "parse error" in found.reason


def test_whatever_a_nodes_name_is_it_stays_in_its_quotes(real_prometheus: Prometheus) -> None:
    real_prometheus.exporter.set('per_node{node="n\\"1\\\\"}', 0.001)
    real_prometheus.exporter.set('per_node{node="other"}', 0.9)
    real_prometheus.scraped()
    for query in (
        'per_node{node="{{node}}"}',
        "per_node{node='{{node}}'}",
        'per_node{node=~"{{node}}"}',
    ):
        found = look(real_prometheus, query, at="after-node")
        assert (found.outcome, found.value) == (Outcome.PASSED, "0.001")


def test_several_series_are_judged_by_the_rule_that_is_written(real_prometheus: Prometheus) -> None:
    real_prometheus.exporter.set('per_node{node="n1"}', 0.001)
    real_prometheus.exporter.set('per_node{node="n2"}', 0.9)
    real_prometheus.scraped()
    assert look(real_prometheus, "per_node").outcome is Outcome.ERROR
    every = look(real_prometheus, "per_node", series="all")
    assert every.outcome is Outcome.FAILED
    assert "node=n2" in every.reason
    assert "node=n1" not in every.reason
    assert look(real_prometheus, "per_node", series="any").outcome is Outcome.PASSED


def test_a_range_query_gives_the_numbers_since_the_change(real_prometheus: Prometheus) -> None:
    since = time.time()
    real_prometheus.scraped(6)
    found = look(
        real_prometheus,
        "error_rate",
        since=since,
        range="10m",
        step="250ms",
        successCondition="size(result) > 1 && result.all(r, r < 0.01)",
    )
    assert found.outcome is Outcome.PASSED


def test_nodes_21_only_an_alert_that_is_not_ignored_blocks(real_prometheus: Prometheus) -> None:
    def alerts(**fields: Any) -> Measurement:
        return measure(
            a_gate("prometheus", url=real_prometheus.url, alerts=fields), a_context(now=time.time())
        )

    real_prometheus.exporter.set("error_rate", 0.95)
    real_prometheus.exporter.set("kube_daemonset_status_updated_number_scheduled", 0)
    real_prometheus.until_firing("ErrorsHigh")
    real_prometheus.until_firing("DaemonSetOutdated")
    found = alerts(ignore=["ErrorsHigh"])
    assert (found.outcome, found.reason) == (Outcome.FAILED, "DaemonSetOutdated fires")
    assert alerts(ignore=["ErrorsHigh", "DaemonSetOutdated"]).outcome is Outcome.PASSED
    gate = a_gate("prometheus", url=real_prometheus.url, alerts={}, at="before-wave")
    assert never_opens(gate, a_context()) == ["DaemonSetOutdated"]  # nodes 22


def test_commands_21_measurements_of_a_real_server_add_up_to_a_verdict(
    real_prometheus: Prometheus,
) -> None:
    gate = a_gate(
        "prometheus", url=real_prometheus.url, query="error_rate", count=5, failureLimit=1, **GOOD
    )
    rules, tally = rules_of(gate), Tally()
    for rate in (0.001, 0.2, 0.001, 0.001, 0.3):
        real_prometheus.exporter.set("error_rate", rate)
        real_prometheus.scraped()
        now = time.time()
        tally = add(rules, tally, measure(gate, a_context(now=now, since=now - 60)))
    verdict = assess(rules, tally, 0.0, 0.0)
    assert verdict.status is Status.FAILED
    assert verdict.reason.startswith("2 failed, more than failureLimit 1")
    assert [m.value for m in tally.recent] == ["0.001", "0.2", "0.001", "0.001", "0.3"]
