"""Selectors are parsed and matched as the API server does, with its messages."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.sim.errors import StatusError
from rollout.sim.resources import CONFIG_MAPS, EVENTS, NODES, PODS
from rollout.sim.selectors import SelectorError, labels_match, parse_fields, parse_labels

ZONED = {"zone": "a", "app": "agent", "number": "7"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("zone=a", True),
        ("zone==a", True),
        ("zone=b", False),
        ("zone!=b", True),
        ("zone!=a", False),
        ("missing!=a", True),
        ("zone", True),
        ("missing", False),
        ("!missing", True),
        ("! zone", False),
        ("zone in (a, b)", True),
        ("zone in (b)", False),
        ("zone notin (b,c)", True),
        ("missing notin (a)", True),
        ("zone notin (a)", False),
        ("zone in (a,),app", True),
        ("empty in ()", False),
        ("number>6", True),
        ("number > 7", False),
        ("number<8", True),
        ("zone>1", False),
        ("app=agent,zone in (a),!gpu", True),
        ("app=agent,zone=b", False),
        ("in in (a)", False),
    ],
)
def test_labels_match_what_the_selector_says(text: str, *, expected: bool) -> None:
    assert parse_labels(text).matches(ZONED) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a>b", "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt'"),
        ("-a=b", 'unable to parse requirement: <nil>: Invalid value: "-a": name part must'),
        ("/a=b", 'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be'),
        ("a=-b", 'unable to parse requirement: values[0][a]: Invalid value: "-b": a valid label'),
    ],
)
def test_what_cannot_be_parsed_is_refused_in_the_servers_words(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse_labels(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"zone": "a"}}, True),
        ({"matchLabels": {"zone": "b"}}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}, False),
    ],
)
def test_objects_select_by_labels(selector: Any, *, expected: bool) -> None:
    assert labels_match(selector, ZONED) is expected


POD = {
    "metadata": {"name": "p", "namespace": "default"},
    "spec": {"nodeName": "n1"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("spec.nodeName=n1", True),
        ("spec.nodeName==n1,status.phase=Running", True),
        ("spec.nodeName!=n1", False),
        ("status.phase!=Failed,metadata.name=p", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_fields_match_what_the_selector_says(text: str, *, expected: bool) -> None:
    assert parse_fields(PODS, text).matches(POD) is expected


def test_a_node_that_says_nothing_is_schedulable() -> None:
    node = {"metadata": {"name": "n"}, "spec": {}}
    assert parse_fields(NODES, "spec.unschedulable=false").matches(node)


def test_events_are_selected_by_the_component_that_wrote_them() -> None:
    event = {"metadata": {}, "involvedObject": {}, "source": {"component": "kubelet"}}
    assert parse_fields(EVENTS, "source=kubelet").matches(event)


@pytest.mark.parametrize(
    ("resource", "text", "message"),
    [
        (PODS, "spec.bogus=n1", "field label not supported: spec.bogus"),
        (NODES, "metadata.namespace=a", "field label not supported: metadata.namespace"),
        (CONFIG_MAPS, "data.a=b", '"data.a" is not a known field selector: only "metadata.name"'),
        (PODS, "status.phase", "invalid selector: 'status.phase'; can't understand 'status.phase'"),
    ],
)
def test_fields_that_cannot_be_selected_by_are_refused(
    resource: Any, text: str, message: str
) -> None:
    with pytest.raises(StatusError) as refused:
        parse_fields(resource, text)
    assert refused.value.code == 400
    assert refused.value.message.startswith(message)
