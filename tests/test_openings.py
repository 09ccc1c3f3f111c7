"""When windows are open: midnight, weekdays, daylight saving, denials, and what comes next."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollout.openings import Window, both_times, check_cron, check_zone, look, zone_of

HOUR, DAY = 3600.0, 86400.0
BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone_of(zone), fold=fold).timestamp()


def windows(*cron: str, hours: float = 1.0, zone: str = BERLIN) -> list[Window]:
    return [
        Window(c.removeprefix("!"), hours * HOUR, zone, allows=not c.startswith("!")) for c in cron
    ]


def test_a_friday_night_goes_on_into_saturday() -> None:
    friday = windows("0 23 * * 5", hours=3)
    assert look(friday, at("2026-11-28 01:00")).open  # a Saturday
    assert not look(friday, at("2026-11-28 23:30")).open
    assert not look(friday, at("2026-11-27 01:00")).open  # Thursday's night


def test_it_is_open_from_the_first_second_and_closed_from_the_last() -> None:
    nightly = windows("0 22 * * *", hours=6)
    begin, end = at("2026-11-27 22:00"), at("2026-11-28 04:00")
    assert not look(nightly, begin - 1).open
    assert look(nightly, begin).open
    assert look(nightly, begin).until == end
    assert look(nightly, end - 1).left(end - 1) == 1
    assert not look(nightly, end).open
    assert look(nightly, end).opens_at == at("2026-11-28 22:00")
    assert look(nightly, end).left(end) == 0


def test_windows_that_touch_are_one() -> None:
    both = windows("0 22 * * *", "0 23 * * *")
    assert look(both, at("2026-11-27 22:30")).until == at("2026-11-28 00:00")


def test_a_denying_window_wins_and_is_named() -> None:
    rules = windows("0 8 * * *", hours=10) + windows("!0 12 * * *")
    noon = look(rules, at("2026-11-27 12:30"))
    assert not noon.open
    assert noon.denied_by == rules[1]
    assert noon.opens_at == at("2026-11-27 13:00")
    assert look(rules, at("2026-11-27 09:00")).until == at("2026-11-27 12:00")


def test_a_denial_over_the_opening_delays_it() -> None:
    rules = windows("0 22 * * *", hours=6) + windows("!0 21 * * *", hours=2)
    assert look(rules, at("2026-11-27 20:00")).opens_at == at("2026-11-27 23:00")


def test_denials_alone_leave_all_other_times_open() -> None:
    rules = windows("!0 0 24-26 12 *", hours=24)
    assert look(rules, at("2026-11-27 12:00")) == look(rules, at("2026-11-28 12:00"))
    assert look(rules, at("2026-12-23 12:00")).until == at("2026-12-24 00:00")
    assert look(rules, at("2026-12-25 12:00")).opens_at == at("2026-12-27 00:00")


def test_no_window_at_all_is_always_open() -> None:
    assert look([], 0.0).open
    assert look([], 0.0).until == math.inf


def test_what_never_opens_says_so() -> None:
    rules = windows("0 12 * * *") + windows("!0 12 * * *")
    assert look(rules, at("2026-11-27 09:00")).opens_at is None


# Daylight saving in Berlin: 2026-03-29 has no 02:xx, 2026-10-25 has it twice.


def test_an_opening_in_the_hour_that_there_is_not_comes_at_the_change() -> None:
    night = windows("30 2 * * *", hours=2)
    opening = look(night, at("2026-03-29 01:00"))
    assert opening.opens_at == at("2026-03-29 03:00")
    assert look(night, at("2026-03-29 04:59")).open
    assert not look(night, at("2026-03-29 05:00")).open


def test_an_opening_in_the_hour_that_there_is_twice_comes_once() -> None:
    night = windows("30 2 * * *", hours=0.5)
    first = at("2026-10-25 02:30")
    assert look(night, at("2026-10-25 02:00")).opens_at == first
    assert look(night, first).until == first + 0.5 * HOUR
    again = at("2026-10-25 02:30", fold=1)
    assert again == first + HOUR
    assert not look(night, again).open
    assert look(night, again).opens_at == at("2026-10-26 02:30")
    assert look(night, at("2026-10-25 02:10", fold=1)).opens_at == at("2026-10-26 02:30")


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_a_window_over_the_change_is_as_long_as_it_is_said_to_be(day: str) -> None:
    night = windows("0 22 * * *", hours=6)
    begin = at(f"{day} 22:00")
    assert look(night, begin).until - begin == 6 * HOUR


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_every_hour_is_every_hour_also_over_the_change(day: str) -> None:
    assert look(windows("0 * * * *"), at(f"{day} 00:30")).until == math.inf


def test_times_are_told_as_local_and_utc() -> None:
    assert both_times(at("2026-11-27 22:00"), BERLIN) == "Fri 2026-11-27 22:00 CET (21:00 UTC)"
    assert both_times(at("2026-07-01 01:00"), BERLIN) == (
        "Wed 2026-07-01 01:00 CEST (Tue 2026-06-30 23:00 UTC)"
    )
    assert both_times(0.0, "UTC") == "Thu 1970-01-01 00:00 UTC"


CRONS = st.sampled_from(
    ["0 22 * * 1-5", "30 2 * * *", "0 * * * *", "*/20 1-3 * * *", "15 3 1 * *", "0 0 * * 0"]
)
WINDOWS = st.lists(
    st.builds(
        Window,
        cron=CRONS,
        length_s=st.sampled_from([HOUR / 2, 6 * HOUR, 30 * HOUR]),
        zone=st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe"]),
        allows=st.booleans(),
    ),
    max_size=2,
)
TIMES = st.integers(
    min_value=int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()),
    max_value=int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()),
)


@settings(max_examples=25, deadline=None)
@given(WINDOWS, TIMES)
@example([Window("30 2 * * *", HOUR, BERLIN)], int(at("2026-10-25 02:59", fold=1)))
def test_the_next_change_is_a_change_and_the_first_one(rules: list[Window], now: int) -> None:
    opening = look(rules, now)
    change = opening.until if opening.open else opening.opens_at
    if change is None or change == math.inf:
        return
    assert change > now
    assert look(rules, change).open is not opening.open
    for step in range(1, 4):
        between = now + (change - now) * step / 4
        assert look(rules, between).open is opening.open


@settings(max_examples=25, deadline=None)
@given(WINDOWS, TIMES)
def test_a_denial_more_never_opens_anything(rules: list[Window], now: int) -> None:
    denial = Window("0 * * * *", 600.0, "UTC", allows=False)
    assert look(rules, now).open or not look([*rules, denial], now).open


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 22 * *", "write minute, hour, day of month"),
        ("0 0 22 * * *", "write minute, hour, day of month"),  # no seconds
        ("0 24 * * *", "Bad hour"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("*/0 * * * *", "Bad minute"),
    ],
)
def test_what_is_no_cron_expression_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression") as caught:
        check_cron(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["Europe/Bremen", "../../etc/passwd", "", "CET-1CEST\0"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone; write for example"):
        check_zone(name)
