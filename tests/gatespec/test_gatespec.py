from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.errors import DocumentError
from rollout.gatespec import Gate, GateBase, PrometheusGate, per_node
from rollout.yamlsource import Source, read_document
from tests.gates.worlds import a_gate

SMALLEST: dict[str, str] = {
    "pods": "",
    "node": "",
    "events": "",
    "logs": "pattern: boom",
    "resources": "cpu: 250m",
    "prometheus": "url: https://p, query: up, successCondition: 'result > 0.0'",
    "http": "url: https://h/",
    "webhook": "url: https://w/",
    "command": "argv: [true]",
    "job": "job: {template: {spec: {containers: [{name: a, image: b}]}}}",
    "approval": "",
    "pause": "duration: 10m",
    "window": "windows: [{allow: '0 22 * * *', for: 6h}]",
    "plugin": "plugin: mine",
}


class Gates(msgspec.Struct, forbid_unknown_fields=True):
    gates: tuple[Gate, ...]


def source(text: str) -> Source:
    return read_document(Path("spec.yaml"), text)


def gate(fields: str, kind: str = "http") -> Any:
    rest = ", ".join(
        part for part in (SMALLEST[kind].replace("[true]", "['true']"), fields) if part
    )
    text = f"gates:\n- {{name: g, kind: {kind}, at: after-wave{', ' if rest else ''}{rest}}}\n"
    return source(text).convert(Gates).gates[0]


def complaint(fields: str, kind: str = "http") -> str:
    with pytest.raises(DocumentError) as caught:
        gate(fields, kind)
    return str(caught.value)


def test_every_kind_is_known_by_its_name_and_knows_it() -> None:
    kinds = {t.__struct_config__.tag for t in Gate.__args__}
    assert kinds == set(SMALLEST)
    assert {gate("", kind).kind for kind in SMALLEST} == kinds


@pytest.mark.parametrize("kind", SMALLEST)
def test_the_common_fields_have_the_same_defaults_in_every_kind(kind: str) -> None:
    found: GateBase = gate("", kind)
    assert (found.initial_delay, found.interval, found.timeout) == (0, "30s", "30s")
    assert (found.count, found.failure_limit, found.inconclusive_limit) == (None, 0, 0)
    assert (found.consecutive_error_limit, found.consecutive_success_limit) == (4, None)
    assert (found.on_inconclusive, found.on_error, found.on_failure) == ("hold", "hold", None)
    assert (found.on_no_data, found.dry_run, found.deadline) == ("inconclusive", False, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("interval: 0", "gates[0].interval: 0 is no time at all; write for example '30s'"),
        ("timeout: soon", "gates[0].timeout: 'soon' is not a duration"),
        ("initialDelay: 1h, deadline: 30m", "gates[0].deadline: must be longer than initialDelay"),
        ("count: 0", "gates[0].count: expected 'int' >= 1"),
        ("count: 3, failureLimit: 3", "gates[0].failureLimit: 3 of 3 measurements could never"),
        ("failureLimit: -1", "gates[0].failureLimit: -1 (no limit) needs consecutiveSuccessLimit"),
        ("count: 2, consecutiveSuccessLimit: 3", "consecutiveSuccessLimit: is above count"),
        ("successCondition: ' '", "gates[0].successCondition: is empty"),
        ("thresholdRange: {min: 2, max: 1}", "min: 2 is above max 1"),
        ("thresholdRange: {}", "give min, max or both"),
        ("thresholdRange: {min: .nan}", "min and max are plain numbers"),
        ("thresholdRange: {min: 1}, successCondition: x", "thresholdRange: excludes success"),
        ("secretRef: {}", "give exactly one of env, file, secret"),
        ("secretRef: {env: A, file: B}", "give exactly one of env, file, secret"),
        ("when: {labels: 'a in'}", "gates[0].when.labels"),
        ("onNoData: success", "gates[0].onNoData: invalid enum value 'success'"),
        ("onNoData: success", "'success'; write failure or inconclusive"),
        ("faliureLimit: 1", "unknown key; did you mean 'failureLimit'?"),
    ],
)
def test_a_wrong_common_field_is_refused_with_its_line_and_name(fields: str, message: str) -> None:
    text = complaint(fields)
    assert text.startswith("spec.yaml:2: gates[0]")
    assert message in text


def test_a_name_that_could_not_stand_in_a_vertex_id_is_refused() -> None:
    with pytest.raises(ValueError, match="name: 'a/b' is not a gate's name"):
        PrometheusGate(name="a/b", at="after-wave", url="https://p", query="up")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("http", "podPort: {port: 80}", "exactly one of url and podPort"),
        ("http", "body: x", "body: is sent with method POST only"),
        ("http", "expectedStatus: []", "expectedStatus: is empty"),
        ("http", "jsonPath: $.a", "jsonPath: needs successCondition"),
        ("http", "headers: {Authorization: x}", "a credential comes from secretRef"),
        ("http", 'headers: {X-A: "a\\nb"}', "is not a header of one line"),
        ("http", "auth: basic", "auth: basic needs username"),
        ("prometheus", "alerts: {}", "query: give exactly one of query and alerts"),
        ("webhook", "trip: true, onFailure: hold", "trip: means roll back now"),
        ("command", "env: {A-B: x}", "env: 'A-B' is not a variable's name"),
        ("approval", "approvers: [a, a], minimum: 2", "minimum: is above the number of approvers"),
        ("pause", "count: 0", "count"),
        ("pods", "available: 101%", "gates[0].available: '101%' is over 100%"),
        ("pods", "restartFree: long", "gates[0].restartFree: 'long' is not a duration"),
        ("pods", "unavailableBefore: -1", "gates[0].unavailableBefore: '-1' is not a count"),
        ("node", "conditions: {Ready: 'yes'}", "conditions: Ready is 'yes'; write"),
        ("events", "of: []", "of: is empty; nothing would be looked at"),
        ("events", "pattern: '('", "gates[0].pattern: '(' is not a regular expression of RE2"),
        ("logs", r"require: '(a)\1'", "gates[0].require: '(a)\\1' is not a regular expression"),
        ("resources", "memory: lots", "gates[0].memory: 'lots' is not a quantity"),
        ("resources", "memory: 90%", "memory: '90%' is not a quantity"),
        ("resources", "against: limit", "cpu: '250m' is not a share of the limit"),
        ("job", "count: 2", "count: a Job runs once"),
        ("job", "timeLimit: x", "gates[0].timeLimit: 'x' is not a duration"),
        ("window", "enough: x", "gates[0].enough: 'x' is not a duration"),
    ],
)
def test_a_wrong_field_of_a_kind_is_refused(kind: str, fields: str, message: str) -> None:
    assert message in complaint(fields, kind)


@pytest.mark.parametrize("url", ["ftp://h/", "h/path", "https://", "https://u:p@h/"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(DocumentError, match="url:"):
        source(f"gates: [{{name: g, kind: webhook, at: preflight, url: '{url}'}}]").convert(Gates)


def test_a_query_without_anything_to_judge_it_by_is_refused() -> None:
    with pytest.raises(ValueError, match="query: needs successCondition"):
        PrometheusGate(name="g", at="preflight", url="https://p", query="up")


def test_a_trip_rolls_back_whatever_the_spec_does_on_failure() -> None:
    assert gate("trip: true", "webhook").on_failure == "rollback"


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("node", "", True),
        ("job", "", True),
        ("logs", "", True),
        ("http", "", False),
        ("command", "", False),
        ("command", "perNode: true", True),
        ("plugin", "perNode: true", True),
        ("prometheus", "", False),
        ("pods", "", False),
    ],
)
def test_only_some_kinds_are_measured_for_each_node(
    kind: str, fields: str, *, expected: bool
) -> None:
    assert per_node(gate(fields, kind)) is expected


def test_a_gate_survives_being_written_and_read_again() -> None:
    for kind in SMALLEST:
        before = gate("when: {waves: [canary]}, secretRef: {secret: {name: s, key: k}}", kind)
        assert msgspec.json.decode(msgspec.json.encode(before), type=Gate) == before


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{for: 1h}", "give exactly one of allow and deny"),
        ("{allow: '0 1 * * *', deny: '0 2 * * *', for: 1h}", "give exactly one of allow and deny"),
        ("{deny: '0 25 * * *', for: 1h}", "windows[0].deny: '0 25 * * *' is not a cron"),
        ("{allow: '0 1 * * *', for: 0}", "windows[0].for: 0 is no time at all"),
        ("{allow: '0 1 * * *', for: 400d}", "windows[0].for: is over a year"),
        ("{allow: '0 1 * * *', for: 1h, timeZone: Berlin}", "timeZone: 'Berlin' is not a time"),
    ],
)
def test_a_wrong_window_is_refused(window: str, message: str) -> None:
    text = f"gates: [{{name: g, kind: window, at: before-wave, windows: [{window}]}}]"
    with pytest.raises(DocumentError) as caught:
        source(text).convert(Gates)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("{}", "job: has no template.spec.containers"),
        ("{template: []}", "job: has no template.spec.containers"),
        ("{template: {spec: {nodeName: a, containers: [{}]}}}", "job: names a node"),
        ("{completions: 2, template: {spec: {containers: [{}]}}}", "job: completions and"),
    ],
)
def test_a_job_that_cannot_be_pinned_is_refused(job: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        source(f"gates: [{{name: g, kind: job, at: after-node, job: {job}}}]").convert(Gates)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("at", "query", "refused"),
    [
        ("preflight", "rate(errors[{{age}}])", "{{age}} has no value at preflight"),
        ("before-wave", "rate(errors[{{age}}])", "{{age}} has no value at before-wave"),
        ("after-wave", "rate(errors[{{age}}])", ""),
        ("background", 'up{wave="{{wave}}"}', "{{wave}} has no value at background"),
        ("after-node", 'up{wave="{{wave}}"}', ""),
        ("after-wave", 'up{node="{{node}}"}', "{{node}} has a value at before-node and after-node"),
    ],
)
def test_a_placeholder_that_never_has_a_value_is_refused(at: str, query: str, refused: str) -> None:
    fields = {"url": "https://p", "successCondition": "result > 0", "at": at, "query": query}
    if not refused:
        a_gate("prometheus", **fields)
        return
    with pytest.raises(msgspec.ValidationError, match=re.escape(refused)):
        a_gate("prometheus", **fields)
