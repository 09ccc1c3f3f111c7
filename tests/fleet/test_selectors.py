from __future__ import annotations

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.fleet.objects import LabelSelector
from rollout.fleet.selectors import Requirement, Selector, parse_label_selector, selector_of

LABELS = {"pool": "edge", "zone": "a", "cores": "8", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("   ", True),
        ("pool=edge", True),
        ("pool==edge", True),
        ("pool = edge", True),
        ("pool=core", False),
        ("pool!=core", True),
        ("pool!=edge", False),
        ("gpu!=yes", True),
        ("pool", True),
        ("gpu", False),
        ("!gpu", True),
        ("! gpu", True),
        ("!pool", False),
        ("zone in (a,b)", True),
        ("zone in ( a , b )", True),
        ("zone in(b)", False),
        ("zone notin (a,b)", False),
        ("gpu notin (a,b)", True),
        ("gpu in (a,b)", False),
        ("empty=", True),
        ("empty==", True),
        ("empty!=", False),
        ("pool=", False),
        ("empty in (,x)", True),
        ("pool in (,x)", False),
        ("cores>7", True),
        ("cores>8", False),
        ("cores<9", True),
        ("pool>1", False),
        ("gpu>1", False),
        ("pool=edge,zone=a", True),
        ("pool=edge,zone=b", False),
        ("pool=edge, zone in (a), !gpu, cores>1", True),
        ("in=x", False),
        ("notin notin (x)", True),
    ],
)
def test_a_selector_selects_as_kubectl_does(text: str, *, selected: bool) -> None:
    assert parse_label_selector(text).matches(LABELS) is selected


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "a,",
        ",a",
        "a,,b",
        "a b",
        "=x",
        "a=b=c",
        "a=b c",
        "!a=b",
        "!!a",
        "!",
        "a in",
        "a in b",
        "a in ()",
        "a in (b",
        "a in (b,",
        "a in (b c)",
        "a in (b,(c))",
        "a in b)",
        "a notin",
        "a>b",
        "a>",
        "a<1.5",
        "a>-1",
        "a=b/c",
        "a/b/c=1",
        "/a=1",
        "-a=1",
        "a-=1",
        "a=-b",
        "a&b",
        "a=b;c=d",
        "Upper.example.com/a=1",
        "a" * 64,
        "a=" + "b" * 64,
        "a=\u00e4",
    ],
)
def test_what_kubectl_refuses_is_refused_with_the_selector_in_the_message(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a label selector: .*; write 'key=") as caught:
        parse_label_selector(text)
    assert str(caught.value).startswith(f"'{text}'")


def test_the_form_that_objects_carry_means_the_same() -> None:
    raw = {
        "matchLabels": {"pool": "edge", "app": "x"},
        "matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["a", "b"]},
            {"key": "gpu", "operator": "DoesNotExist"},
        ],
    }
    selector = selector_of(msgspec.convert(raw, LabelSelector))
    assert str(selector) == "app=x,pool=edge,zone in (a,b),!gpu"
    assert selector.matches({"app": "x", "pool": "edge", "zone": "b"})
    assert not selector.matches({"app": "x", "pool": "edge", "zone": "b", "gpu": ""})


def test_an_empty_selector_of_an_object_selects_everything() -> None:
    assert selector_of(LabelSelector()).matches({})


alphanumeric = string.ascii_letters + string.digits
words = st.builds(
    lambda head, middle, tail: head + middle + tail,
    st.sampled_from(alphanumeric),
    st.text(alphanumeric + "-_.", max_size=8),
    st.sampled_from(alphanumeric),
)
prefixes = st.sampled_from(["", "example.com/", "topology.kubernetes.io/"])
keys = st.builds(lambda prefix, name: prefix + name, prefixes, words)
values = st.just("") | words
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        Requirement,
        keys,
        st.sampled_from(["In", "NotIn"]),
        st.lists(values, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(
        Requirement,
        keys,
        st.sampled_from(["Gt", "Lt"]),
        st.integers(0, 10**6).map(lambda n: (str(n),)),
    ),
)
selectors = st.lists(requirements, max_size=5).map(lambda items: Selector(tuple(items)))


@given(selectors)
def test_a_selector_reads_back_what_it_writes(selector: Selector) -> None:
    assert parse_label_selector(str(selector)) == selector


few_keys = st.sampled_from(["a", "b", "c"])
few_values = st.sampled_from(["", "1", "2", "x"])
small_requirements = st.one_of(
    st.builds(Requirement, few_keys, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(
        Requirement,
        few_keys,
        st.sampled_from(["In", "NotIn"]),
        st.lists(few_values, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Requirement, few_keys, st.sampled_from(["Gt", "Lt"]), st.sampled_from([("1",), ("2",)])
    ),
)


def naive(requirement: Requirement, labels: dict[str, str]) -> bool:
    """Kubernetes' own definition, written out as plainly as can be."""
    here = requirement.key in labels
    value = labels.get(requirement.key, "")
    table = {
        "Exists": here,
        "DoesNotExist": not here,
        "In": here and value in requirement.values,
        "NotIn": not here or value not in requirement.values,
    }
    if requirement.operator in table:
        return table[requirement.operator]
    if not value.isdigit():
        return False
    bound = int(requirement.values[0])
    return int(value) > bound if requirement.operator == "Gt" else int(value) < bound


@given(st.lists(small_requirements, max_size=4), st.dictionaries(few_keys, few_values))
def test_a_selector_is_the_and_of_its_requirements(
    items: list[Requirement], labels: dict[str, str]
) -> None:
    text = str(Selector(tuple(items)))
    expected = all(naive(item, labels) for item in items)
    assert parse_label_selector(text).matches(labels) is expected


@given(st.text("ab=!<>(),/ in-_.1\u00e4", max_size=12))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except ValueError:
        return
    assert parse_label_selector(str(selector)) == selector
