from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rollout.cluster.versions import TOMBSTONES, Verdict, VersionBook

LARGEST = 65_000  # nodes


@dataclass(frozen=True)
class Meta:
    name: str
    resource_version: str
    uid: str = ""
    namespace: str = "default"


@dataclass(frozen=True)
class Item:
    metadata: Meta


def test_a_newer_state_is_news_and_the_same_again_is_a_repetition() -> None:
    book = VersionBook()
    assert book.change(Meta("a", "5")) is Verdict.NEWS
    assert book.change(Meta("a", "5")) is Verdict.REPEATED
    assert book.change(Meta("a", "6")) is Verdict.NEWS


def test_an_older_state_of_the_same_object_is_outdated() -> None:
    book = VersionBook()
    book.change(Meta("a", "100"))
    assert book.change(Meta("a", "99")) is Verdict.OUTDATED
    assert book.seen(Meta("a", "")) == "100"


def test_versions_are_numbers_and_not_text() -> None:
    book = VersionBook()
    book.change(Meta("a", "9"))
    assert book.change(Meta("a", "10")) is Verdict.NEWS


def test_another_object_of_the_same_name_has_its_own_history() -> None:
    book = VersionBook()
    book.change(Meta("a", "100", uid="u1"))
    assert book.change(Meta("a", "50", uid="u2")) is Verdict.NEWS


def test_late_news_of_a_removed_object_does_not_bring_it_back() -> None:
    book = VersionBook()
    book.change(Meta("a", "5"))
    assert book.remove(Meta("a", "7")) is Verdict.NEWS
    assert book.remove(Meta("a", "7")) is Verdict.REPEATED
    assert book.change(Meta("a", "6")) is Verdict.OUTDATED


def test_a_removal_older_than_the_object_is_outdated() -> None:
    book = VersionBook()
    book.change(Meta("a", "9"))
    assert book.remove(Meta("a", "8")) is Verdict.OUTDATED


def test_a_removal_may_carry_the_last_version_that_was_seen() -> None:
    book = VersionBook()
    book.change(Meta("a", "9"))
    assert book.remove(Meta("a", "9")) is Verdict.NEWS


def test_a_list_older_than_what_was_seen_is_refused_and_changes_nothing() -> None:
    book = VersionBook()
    book.advance("50")
    assert not book.restart("49", [Item(Meta("a", "1"))])
    assert book.latest == "50"
    assert book.seen(Meta("a", "")) == ""


def test_a_list_forgets_what_was_before_it() -> None:
    book = VersionBook()
    book.change(Meta("gone", "5"))
    assert book.restart("10", [Item(Meta("a", "8"))])
    assert book.seen(Meta("gone", "")) == ""
    assert book.change(Meta("a", "8")) is Verdict.REPEATED


def test_an_old_bookmark_does_not_turn_the_watch_back() -> None:
    book = VersionBook()
    book.advance("9")
    book.advance("8")
    assert book.latest == "9"


def test_versions_that_are_no_numbers_are_never_called_old() -> None:
    book = VersionBook()
    assert book.change(Meta("a", "zz")) is Verdict.NEWS
    assert book.change(Meta("a", "aa")) is Verdict.NEWS
    assert book.remove(Meta("a", "")) is Verdict.NEWS
    assert book.restart("opaque", [])
    assert book.latest == "opaque"


def test_faults_44_only_so_many_removed_objects_are_remembered() -> None:
    book = VersionBook()
    for number in range(TOMBSTONES + 10):
        book.remove(Meta(f"p{number}", str(number + 1)))
    assert book.seen(Meta("p9", "")) == ""
    assert book.seen(Meta("p10", "")) == "11"


def test_faults_44_a_fleet_of_65000_that_changes_for_ever_costs_no_more_memory() -> None:
    """What is kept grows with the objects that are there, never with what has happened to them."""
    book = VersionBook()
    sizes: list[int] = []
    version = 0
    tracemalloc.start()
    for _ in range(3):
        for name in range(LARGEST):
            version += 1
            assert book.change(Meta(f"p{name}", str(version))) is Verdict.NEWS
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert book.latest == str(3 * LARGEST)
    assert book.seen(Meta("p0", "")) == str(2 * LARGEST + 1)
    assert sizes[2] < 1.1 * sizes[0]
    assert sizes[2] < 500 * LARGEST  # bytes


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.booleans())))
def test_what_is_called_news_of_an_object_is_always_newer(
    events: list[tuple[str, int, bool]],
) -> None:
    book = VersionBook()
    newest: dict[str, int] = {}
    for name, version, removed in events:
        meta = Meta(name, str(version))
        verdict = book.remove(meta) if removed else book.change(meta)
        if verdict is Verdict.NEWS:
            assert version >= newest.get(name, 0)
            newest[name] = version
        assert int(book.latest or 0) >= max(newest.values(), default=0)
