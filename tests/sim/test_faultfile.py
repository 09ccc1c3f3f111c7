"""Fault scripts are read strictly, with the line of every mistake."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from rollout.sim.faultfile import (
    CLUSTER_ACTIONS,
    REQUEST_ACTIONS,
    WATCH_ACTIONS,
    DropAction,
    ErrorAction,
    Match,
    read_faults,
)

README = resources.files("rollout.sim").joinpath("README.md").read_text(encoding="utf-8")


def read(text: str) -> list[object]:
    return list(read_faults(None, text).faults)


def test_a_script_says_what_when_and_for_whom() -> None:
    script = read_faults(
        None,
        """
seed: 7
faults:
  - name: flaky
    match: {verbs: [delete], resources: [pods], names: ["log-*"]}
    from: 10s
    until: 2m
    after: 2
    every: 3
    count: 5
    chance: 0.5
    error: {status: 503, retryAfter: 2s}
""",
    )
    fault = script.faults[0]
    assert script.seed == 7
    assert fault.match == Match(verbs=("delete",), resources=("pods",), names=("log-*",))
    assert (fault.start, fault.end, fault.after, fault.every) == (10.0, 120.0, 2, 3)
    assert (fault.count, fault.chance) == (5, 0.5)
    assert fault.value == ErrorAction(
        503, "ServiceUnavailable", "injected fault: 503 ServiceUnavailable", 2
    )


def test_faults_without_a_name_are_called_by_action_and_place() -> None:
    script = read_faults(None, "faults: [{lose: true}, {stopControllers: true, from: 5s}]")
    assert [fault.name for fault in script.faults] == ["lose-0", "stopControllers-1"]


def test_requests_match_by_default_and_the_cluster_waits_for_its_time() -> None:
    script = read_faults(None, "faults: [{delay: 1s}, {loseNode: n1}, {loseNode: n2, match: {}}]")
    assert [fault.match for fault in script.faults] == [Match(), None, Match()]


def test_a_watch_may_be_cut_by_time_or_by_events() -> None:
    script = read_faults(None, "faults: [{drop: 5s}, {drop: {events: 3}}]")
    assert [fault.value for fault in script.faults] == [(5.0, None), (None, 3)]
    assert DropAction().events is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faults:\n  - {eror: 500}", "<stdin>:2"),
        ("faults:\n  - {name: a}", "a fault has exactly one action; found none"),
        ("faults:\n  - {lose: true, delay: 1s}", "exactly one action; found lose, delay"),
        ("faults:\n  - {error: 200}", "200 is no HTTP error"),
        ("faults:\n  - {delay: soon}", "'soon' is not a duration"),
        ("faults:\n  - {lose: true, from: 5s, until: 5s}", "'until' is not behind 'from'"),
        ("faults:\n  - {lose: true, count: 0}", "'count' is at least 1"),
        ("faults:\n  - {lose: true, chance: 2}", "'chance' is a probability"),
        ("faults:\n  - {lose: true, name: a}\n  - {lose: true, name: a}", "stands twice"),
        ("faults:\n  - {drop: {after: 1s, events: 2}}", "give either 'after' or 'events'"),
        ("faults:\n  - {breakImage: {image: a, fault: sulks}}", "sulks"),
    ],
)
def test_mistakes_are_refused_with_their_line(text: str, message: str) -> None:
    with pytest.raises(Exception, match=r".+") as refused:
        read(text)
    assert message in str(refused.value)
    assert "<stdin>:" in str(refused.value)


def documented() -> str:
    """The part of the README about this file."""
    return README.partition("## The fault file")[2].partition("\n## ")[0]


def test_the_example_of_the_readme_is_one() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", documented(), re.DOTALL)
    names = [fault.name for fault in read_faults(None, example).faults]
    assert names[0] == "flaky-deletes"
    assert len(names) == 11


def test_the_readme_lists_every_action() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", documented(), re.MULTILINE))
    spelled = {
        re.sub(r"_(.)", lambda found: found[1].upper(), action)
        for action in (*REQUEST_ACTIONS, *WATCH_ACTIONS, *CLUSTER_ACTIONS)
    }
    assert listed == spelled
