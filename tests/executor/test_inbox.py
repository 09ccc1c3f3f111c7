"""The queue of all that a run hears."""

from __future__ import annotations

from rollout.executor.engine import events as ev
from rollout.executor.inbox import Inbox

LARGEST = 65_000  # nodes


def test_faults_44_a_flood_of_news_is_taken_in_parts_and_none_of_it_is_lost() -> None:
    """The engine decides between two parts, however much has come meanwhile."""
    inbox = Inbox()
    for number in range(LARGEST):
        inbox.put(number)
    inbox.stop("stopped by SIGINT")

    parts: list[list[object]] = []
    while part := inbox.take(0.0):
        parts.append(part)

    heard = [item for part in parts for item in part]
    assert heard == [*range(LARGEST), ev.StopAsked("stopped by SIGINT")]
    assert max(map(len, parts)) <= LARGEST // 10


def test_a_wish_to_stop_is_heard_before_the_news_that_came_earlier_and_keeps_them() -> None:
    inbox = Inbox()
    inbox.put("news")
    inbox.stop("stopped by SIGINT")

    assert inbox.stopped_within(0.0)
    assert inbox.take(0.0) == ["news", ev.StopAsked("stopped by SIGINT")]
    assert inbox.take(0.0) == []


def test_a_part_that_begins_hears_nothing_of_the_one_before_but_that_the_lock_is_lost() -> None:
    inbox = Inbox()
    lost = ev.LockLost("the lease was taken over")
    for item in (ev.PodGone("log-agent", "uid"), lost, ev.ViewLost("nodes", "silent for 75 s")):
        inbox.put(item)

    inbox.forget()

    assert inbox.take(0.0) == [lost]
    assert inbox.take(0.0) == []
