from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gatespec.promql import (
    Value,
    check_query,
    longest_window,
    placeholders,
    render,
    selectors,
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('up{node="{{node}}"}', 'up{node="n\\"1"}'),
        ("up{node='{{ node }}'}", "up{node='n\"1'}"),
        ('up{node=~"{{node}}"}', 'up{node=~"(?:n\\"1)"}'),
        ('up{node=~"{{nodes}}.*"}', 'up{node=~"(?:a\\\\.b|c\\\\|d).*"}'),
        ('up{node!~"{{nodes}}"}', 'up{node!~"(?:a\\\\.b|c\\\\|d)"}'),
        ("rate(errors[{{age}}])", "rate(errors[90s])"),
        (
            'sum(up{a="x{{wave}}y", b="{{wave}}"}) # {{nothing',
            'sum(up{a="xw\\\\y", b="w\\\\"}) # {{nothing',
        ),
    ],
)
def test_values_are_escaped_for_where_they_stand(query: str, expected: str) -> None:
    values: dict[str, Value] = {"node": 'n"1', "nodes": ("a.b", "c|d"), "age": "90s", "wave": "w\\"}
    assert render(query, values) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("up{{node}}", '{{node}} must stand in quotes: label="{{node}}"'),
        ('up{node="{{pod}}"}', "{{pod}} is unknown; known are age, daemonset"),
        ('up{node="{{nodes}}"}', "{{nodes}} may be several"),
        ("up{node=`{{node}}`}", "cannot be escaped in backquotes"),
        ('up{node="{{age}}"}', "{{age}} stands in a window"),
    ],
)
def test_a_placeholder_in_the_wrong_place_is_refused(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_query(query)


def go_unquote(literal: str) -> str:
    """Read a Go string literal back, as Prometheus does."""
    body = literal[1:-1]
    raw = bytearray()
    position = 0
    while position < len(body):
        if body[position] != "\\":
            assert body[position] != literal[0], "the value has left its quotes"
            raw += body[position].encode()
            position += 1
        elif body[position + 1] == "x":
            raw.append(int(body[position + 2 : position + 4], 16))
            position += 4
        else:
            raw += body[position + 1].encode()
            position += 2
    return raw.decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from("\"'"))
def test_no_value_can_leave_its_quotes(value: str, quote: str) -> None:
    query = f"up{{node={quote}{{{{node}}}}{quote}}}"
    rendered = render(query, {"node": value})
    assert go_unquote(rendered.removeprefix("up{node=").removesuffix("}")) == value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_in_a_regular_expression_a_value_matches_itself_and_nothing_else(
    values: list[str],
) -> None:
    rendered = render('up{n=~"{{nodes}}"}', {"nodes": tuple(values)})
    pattern = go_unquote(rendered.removeprefix("up{n=~").removesuffix("}"))
    for value in values:
        assert re.fullmatch(pattern, value, re.DOTALL)
    assert not re.fullmatch(pattern, "".join(values) + "-not-there")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", ("up",)),
        ("1 + 2", ()),
        ("vector(0)", ()),
        (
            'sum by (node) (rate(errors{job="a"}[5m])) / sum(rate(requests[5m]))',
            ('errors{job="a"}', "requests"),
        ),
        ("sum(a) by (x) > on(y) group_left(z) b offset 5m", ("a", "b")),
        ('{__name__=~"x.*", a="}"} unless c', ('{__name__=~"x.*", a="}"}', "c")),
        ("histogram_quantile(0.99, sum by (le) (rate(b_bucket[1m]))) > bool 1e3", ("b_bucket",)),
        ("max_over_time(deriv(x:rate5m[10m])[1h:1m]) or Inf # up", ("x:rate5m",)),
        ("a / ignoring(x, y) a and NaN", ("a",)),
        ("up @ start()", ("up",)),
    ],
)
def test_the_series_that_a_query_reads_are_found(query: str, expected: tuple[str, ...]) -> None:
    assert selectors(query) == expected


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("up", 0),
        ("rate(a[5m])", 300),
        ("rate(a[1h30m]) + rate(b[2m])", 5400),
        ("rate(a[5m]) / rate(a[5m] offset 1d)", 300),
        ("rate(a[1d] offset 1w)", 0),
        ("max_over_time(rate(a[1m])[10m:30s])", 600),
        ('a{b="[1y]"}', 0),
        ("rate(a[500ms])", 0.5),
    ],
)
def test_how_far_the_windows_reach_back_is_known(query: str, seconds: float) -> None:
    assert longest_window(query) == seconds


@given(st.text(alphabet="ab{}[]()\"'`\\=~!#{5m} \n,"))
def test_any_text_is_scanned_without_a_crash(text: str) -> None:
    selectors(text)
    longest_window(text)
    placeholders(text)
    assert "".join(render(text, {})) == text
