"""The reflector against one small server per scenario, on a clock that the test turns.

Only silence is noticed by real time, for a socket does it; nothing else depends on how fast it is.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.cluster.retry import Patience
from rollout.cluster.watch import (
    Broken,
    Changed,
    Listed,
    News,
    Outdated,
    Reflector,
    Removed,
    Resumed,
    Stalled,
    Timing,
    WentBack,
)
from rollout.errors import Forbidden, Throttled, Unreachable
from tests.cluster.world import (
    Answer,
    Asked,
    Reply,
    Reset,
    Streamed,
    World,
    bookmark,
    event,
    pod,
    pod_list,
    serve,
    status,
    talking_to,
)

PODS = "/api/v1/namespaces/default/pods"
PATIENCE_S = 60.0  # bounds what hangs; a busy machine is no failure
HASTE = Timing(silence_s=2 * PATIENCE_S, first_pause_s=0.0)
IMPATIENT = Timing(silence_s=0.3, first_pause_s=0.0)


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""


class Pod(msgspec.Struct, frozen=True):
    metadata: Meta


class Story:
    """Answers lists and watches one after the other; the last watch says nothing until the end."""

    def __init__(self, lists: Iterable[Answer], watches: Iterable[Answer]) -> None:
        self._lists = iter(lists)
        self._watches = iter(watches)
        self.world: World | None = None

    def __call__(self, asked: Asked) -> Answer:
        if "watch" not in asked.query:
            return next(self._lists)
        return next(self._watches, Streamed(self.silence()))

    def silence(self) -> Iterator[bytes]:
        yield b"\n"
        assert self.world is not None
        self.world.released.wait()


class Told:
    """What the reflector said so far."""

    def __init__(
        self, world: World, reflector: Reflector[Pod], news: queue.SimpleQueue[News[Pod]]
    ) -> None:
        self.world = world
        self.reflector = reflector
        self.news = news

    def next(self, count: int = 1) -> list[str]:
        """Return the next pieces of news in short form."""
        return [short(self.news.get(timeout=PATIENCE_S)) for _ in range(count)]

    def until(self, wanted: str) -> list[str]:
        """Return what comes before this piece of news."""
        return list(iter(lambda: self.next()[0], wanted))

    def watched(self) -> list[str]:
        """Return the versions from which the connections went on."""
        return [a.query["resourceVersion"] for a in self.world.asked if "watch" in a.query]


def short(news: News[Pod]) -> str:
    match news:
        case Listed(_, items, version):
            return f"list {version}: {' '.join(i.metadata.name for i in items)}".rstrip()
        case Changed(_, item):
            return f"changed {item.metadata.name} {item.metadata.resource_version}"
        case Removed(_, item):
            return f"removed {item.metadata.name}"
        case Outdated(_, item, seen):
            return f"outdated {item.metadata.name} {item.metadata.resource_version} < {seen}"
        case WentBack(_, version, seen):
            return f"went back to {version} from {seen}"
        case Stalled():
            return "stalled"
        case Broken(_, error):
            return f"broken {type(error).__name__}"
        case Resumed():
            return "resumed"


@contextmanager
def watching(
    story: Story | Silent, directory: Path, timing: Timing = HASTE, **options: Any
) -> Iterator[Told]:
    options = {"clock": lambda: 0.0, **options}
    with (
        serve(story) as world,
        talking_to(world.url, directory, patience=Patience(0.0, 0.0)) as client,
    ):
        story.world = world
        news: queue.SimpleQueue[News[Pod]] = queue.SimpleQueue()
        reflector = Reflector(client, "pods", PODS, Pod, news.put, timing=timing, **options)
        told = Told(world, reflector, news)
        reflector.start()
        try:
            yield told
        finally:
            reflector.stop(PATIENCE_S)


def page(*pods: dict[str, Any], version: int = 100) -> Reply:
    return Reply(pod_list(*pods, version=version))


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}


def test_the_state_is_listed_once_and_then_followed(tmp_path: Path) -> None:
    lines = [
        event("ADDED", pod("b", 101)),
        event("MODIFIED", pod("b", 102)),
        event("DELETED", pod("a", 103)),
    ]
    story = Story([page(pod("a", 50))], [Streamed(lines)])
    selectors: dict[str, Any] = {"label_selector": "app=x", "field_selector": "spec.nodeName=n"}
    with watching(story, tmp_path, **selectors) as told:
        expected = ["list 100: a", "changed b 101", "changed b 102", "removed a"]
        assert told.next(4) == expected
        lists = [a for a in told.world.asked if "watch" not in a.query]
        assert len(lists) == 1
        asked = next(a for a in told.world.asked if "watch" in a.query)
    assert asked.query.pop("timeoutSeconds") in {str(s) for s in range(240, 301)}
    assert asked.query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "100",
        "labelSelector": "app=x",
        "fieldSelector": "spec.nodeName=n",
    }
    assert asked.headers["accept-encoding"] == "identity", "a packed stream would come late"


def test_a_proper_end_is_resumed_from_the_last_version_in_silence(tmp_path: Path) -> None:
    story = Story(
        [page()],
        [Streamed([event("ADDED", pod("a", 105))]), Streamed([event("ADDED", pod("b", 106))])],
    )
    with watching(story, tmp_path) as told:
        assert told.next(3) == ["list 100:", "changed a 105", "changed b 106"]
        assert told.watched()[:2] == ["100", "105"]


def test_a_bookmark_moves_the_version_and_is_not_told(tmp_path: Path) -> None:
    story = Story([page()], [Streamed([bookmark(180)]), Streamed([event("ADDED", pod("a", 181))])])
    with watching(story, tmp_path) as told:
        assert told.next(2) == ["list 100:", "changed a 181"]
        assert told.watched()[:2] == ["100", "180"]


@pytest.mark.parametrize("cut", [True, False], ids=["broken", "ended properly"])
def test_a_connection_that_ends_in_an_event_loses_nothing(tmp_path: Path, *, cut: bool) -> None:
    half = event("ADDED", pod("b", 102))
    story = Story(
        [page()],
        [
            Streamed([event("ADDED", pod("a", 101)), half[:40]], cut=cut),
            Streamed([half]),
        ],
    )
    with watching(story, tmp_path) as told:
        assert told.next(5) == [
            "list 100:",
            "changed a 101",
            "broken Unreachable",
            "resumed",
            "changed b 102",
        ]
        assert told.watched()[:2] == ["100", "101"]


def test_events_may_be_torn_over_chunks_and_packed_into_one(tmp_path: Path) -> None:
    text = b"".join(event("ADDED", pod(f"p{n}", 101 + n)) for n in range(3))
    story = Story([page()], [Streamed([text[:10], text[10:50], text[50:], b"\n\n"])])
    with watching(story, tmp_path) as told:
        assert told.next(4) == ["list 100:", *(f"changed p{n} {101 + n}" for n in range(3))]


@pytest.mark.parametrize(
    "expired",
    [Streamed([event("ERROR", GONE)]), status(410, "too old resource version", "Expired")],
    ids=["in the stream", "as an answer"],
)
def test_an_expired_version_is_answered_by_one_new_list(tmp_path: Path, expired: Answer) -> None:
    story = Story(
        [page(pod("a", 50), pod("b", 51)), page(pod("b", 51), version=200)],
        [expired, Streamed([event("ADDED", pod("c", 201))])],
    )
    with watching(story, tmp_path) as told:
        assert told.next(3) == ["list 100: a b", "list 200: b", "changed c 201"]
        assert told.watched()[:2] == ["100", "200"]


def test_an_error_in_the_stream_is_told_and_the_watch_goes_on(tmp_path: Path) -> None:
    ill = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd is ill"}
    story = Story(
        [page()],
        [Streamed([event("ERROR", ill)]), Streamed([event("ADDED", pod("a", 101))])],
    )
    with watching(story, tmp_path) as told:
        assert told.next(4) == ["list 100:", "broken Unreachable", "resumed", "changed a 101"]


def test_permission_lost_in_the_middle_is_told_and_tried_again(tmp_path: Path) -> None:
    no = status(403, 'User "dev" cannot watch resource "pods"', "Forbidden")
    story = Story([page()], [no, no, Streamed([event("ADDED", pod("a", 101))])])
    with watching(story, tmp_path) as told:
        assert told.next() == ["list 100:"]
        first = told.news.get(timeout=PATIENCE_S)
        assert isinstance(first, Broken)
        assert isinstance(first.error, Forbidden)
        assert told.next(3) == ["broken Forbidden", "resumed", "changed a 101"]


def test_a_list_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    story = Story([status(503, "no leader"), Reply(b"{}"), page(pod("a", 1))], [])
    with watching(story, tmp_path) as told:
        assert told.next(4) == [
            "broken Unreachable",
            "broken Unreachable",
            "list 100: a",
            "resumed",
        ]


def test_a_list_older_than_what_was_seen_is_refused(tmp_path: Path) -> None:
    story = Story(
        [page(), page(version=90), page(pod("a", 120), version=130)],
        [Streamed([event("ADDED", pod("a", 120)), event("ERROR", GONE)])],
    )
    with watching(story, tmp_path) as told:
        assert told.next(2) == ["list 100:", "changed a 120"]
        refused = told.news.get(timeout=PATIENCE_S)
        assert isinstance(refused, Broken)
        assert "version 90, had 120" in str(refused.error)
        assert told.next(2) == ["list 130: a", "resumed"]


def test_an_older_list_that_stays_is_how_things_are(tmp_path: Path) -> None:
    now = [0.0]

    def wait(_seconds: float) -> None:
        now[0] += 30.0

    story = Story(
        [
            page(),
            page(version=90),
            page(version=90),
            page(version=91),
            page(pod("b", 88), version=92),
        ],
        [
            Streamed([event("ADDED", pod("a", 120)), event("ERROR", GONE)]),
            Streamed([event("MODIFIED", pod("b", 93))]),
        ],
    )
    with watching(story, tmp_path, clock=lambda: now[0], wait=wait) as told:
        assert told.next(2) == ["list 100:", "changed a 120"]
        assert told.next(3) == ["broken Unreachable"] * 3
        assert told.next(4) == [
            "went back to 92 from 120",
            "list 92: b",
            "resumed",
            "changed b 93",
        ]


def test_bookmarks_from_the_past_are_no_sign_of_life(tmp_path: Path) -> None:
    now = [0.0]

    def marks() -> Iterator[bytes]:
        for _ in range(3):
            now[0] += 60.0
            yield bookmark(90)

    def wait(_seconds: float) -> None:
        now[0] += 1.0

    lists = [page(version=100), page(pod("a", 101), version=101)]
    with watching(
        Story(lists, [Streamed(marks())]),
        tmp_path,
        replace(HASTE, silence_s=75.0),
        clock=lambda: now[0],
        wait=wait,
    ) as told:
        assert told.next(4) == ["list 100:", "stalled", "list 101: a", "resumed"]


def test_time_travel_is_reported_and_repetitions_are_dropped(tmp_path: Path) -> None:
    story = Story(
        [page(pod("a", 100))],
        [
            Streamed(
                [
                    event("MODIFIED", pod("a", 100)),
                    event("MODIFIED", pod("a", 105)),
                    event("MODIFIED", pod("a", 103)),
                    event("MODIFIED", pod("a", 105)),
                    event("DELETED", pod("a", 104)),
                    event("DELETED", pod("a", 106)),
                    event("DELETED", pod("a", 106)),
                    event("MODIFIED", pod("a", 105)),
                    event("ADDED", pod("z", 107)),
                ]
            )
        ],
    )
    with watching(story, tmp_path) as told:
        assert told.next(7) == [
            "list 100: a",
            "changed a 105",
            "outdated a 103 < 105",
            "outdated a 104 < 105",
            "removed a",
            "outdated a 105 < 106",
            "changed z 107",
        ]


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json\n",
        b"null\n",
        b'{"type":"ADDED"}\n',
        b'{"type":"SURPRISE","object":{}}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":7}}}\n',
        b'{"type":"BOOKMARK","object":{}}\n',
        b'{"type":"ERROR","object":{}}\n',
        b"\xff\xfe\n",
    ],
)
def test_garbage_is_a_failed_read_and_nothing_is_skipped(tmp_path: Path, garbage: bytes) -> None:
    story = Story(
        [page()],
        [
            Streamed([event("ADDED", pod("a", 101)), garbage, event("ADDED", pod("x", 999))]),
            Streamed([event("ADDED", pod("b", 102))]),
        ],
    )
    with watching(story, tmp_path) as told:
        assert told.next(5) == [
            "list 100:",
            "changed a 101",
            "broken Unreachable",
            "resumed",
            "changed b 102",
        ]


class Silent:
    """Watches that say nothing more until somebody has noticed.

    A busy machine may break a connection before its first byte, so there may be many of them.
    """

    def __init__(self, lists: Iterable[Answer]) -> None:
        self._lists = iter(lists)
        self.noticed = threading.Event()
        self.world: World | None = None

    def __call__(self, asked: Asked) -> Answer:
        if "watch" not in asked.query:
            return next(self._lists)
        if self.noticed.is_set():
            return Streamed([event("ADDED", pod("a", 101))])
        return Streamed(self._silence())

    def _silence(self) -> Iterator[bytes]:
        yield bookmark(100)
        self.noticed.wait(PATIENCE_S)


def test_a_silent_server_is_noticed_and_another_connection_made(tmp_path: Path) -> None:
    story = Silent([page()])
    with watching(story, tmp_path, IMPATIENT) as told:
        assert told.next() == ["list 100:"]
        told.until("stalled")
        story.noticed.set()
        assert "resumed" in told.until("changed a 101")


def test_behind_a_long_silence_the_state_is_listed_anew(tmp_path: Path) -> None:
    story = Silent([page(), *[page(pod("a", 104), version=105)] * 100])
    with watching(story, tmp_path, replace(IMPATIENT, gap_s=0.2)) as told:
        assert told.next() == ["list 100:"]
        told.until("stalled")
        assert told.next(2) == ["list 105: a", "resumed"]


def test_pauses_grow_until_a_healthy_minute_resets_them(tmp_path: Path) -> None:
    now = 0.0
    pauses: list[float] = []
    done = threading.Event()

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) >= 6:
            done.set()
            threading.Event().wait(0.05)

    def long_lived() -> Iterator[bytes]:
        nonlocal now
        now += 61.0
        yield bookmark(101)

    ends: list[Answer] = [Streamed([]), Reset(), Streamed([]), Streamed(long_lived())]
    story = Story([page()], [*ends, Streamed([]), Streamed([])])
    timing = Timing(silence_s=2 * PATIENCE_S)
    with watching(story, tmp_path, timing, wait=wait, clock=lambda: now, rng=AtTheEdge()):
        assert done.wait(PATIENCE_S)
    assert pauses[:6] == [0.5, 1.0, 2.0, 0.5, 1.0, 2.0]


class AtTheEdge(random.Random):
    """Always draws the largest number of the interval."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the base's signature
        return b


def test_a_server_that_is_busy_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    pauses: list[float] = []
    busy = Reply(b"", 429, {"Retry-After": "11"})
    story = Story([page()], [busy, Streamed([event("ADDED", pod("a", 101))])])
    with watching(story, tmp_path, wait=pauses.append) as told:
        assert told.next() == ["list 100:"]
        first = told.news.get(timeout=PATIENCE_S)
        assert isinstance(first, Broken)
        assert isinstance(first.error, Throttled)
        assert told.next(2) == ["resumed", "changed a 101"]
    assert pauses[0] == 11.0


def test_a_version_that_expires_again_and_again_does_not_become_a_storm(tmp_path: Path) -> None:
    pauses: list[float] = []
    expired = status(410, "too old", "Expired")
    lists = [page(version=100 + n) for n in range(6)]
    story = Story(lists, [expired] * 5)
    timing = Timing(silence_s=2 * PATIENCE_S)
    with watching(
        story, tmp_path, timing, wait=pauses.append, clock=lambda: 0.0, rng=AtTheEdge()
    ) as told:
        assert told.next(4) == [f"list {100 + n}:" for n in range(4)]
        for version in (104, 105):  # it sees nothing for more than a moment, and says so
            assert told.next(3) == ["broken Unreachable", f"list {version}:", "resumed"]
    assert pauses[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]


class Pausing:
    """A clock that moves while somebody pauses, and by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def quiet(self, seconds: float, *then: bytes) -> Iterator[bytes]:
        """Say nothing for so long, then that."""
        self.now += seconds
        yield from then


@pytest.mark.parametrize(("first_s", "anew"), [(0.5, False), (2.5, True)])
def test_behind_a_gap_the_state_is_listed_anew_for_a_watch_would_tell_history(
    tmp_path: Path, first_s: float, *, anew: bool
) -> None:
    time = Pausing()
    lists = [page(pod("a", 90)), page(pod("a", 104), version=105)]
    story = Story(lists, [Reset(), Streamed([event("MODIFIED", pod("a", 106))])])
    timing = Timing(silence_s=2 * PATIENCE_S, first_pause_s=first_s, max_pause_s=first_s)
    with watching(
        story, tmp_path, timing, wait=time.wait, clock=time.clock, rng=AtTheEdge()
    ) as told:
        assert told.next(2) == ["list 100: a", "broken Unreachable"]
        assert told.next(2) == (
            ["list 105: a", "resumed"] if anew else ["resumed", "changed a 106"]
        )
        if anew:
            assert told.next() == ["changed a 106"]
        assert told.watched()[:2] == ["100", "105" if anew else "100"]


def test_a_connection_that_lasted_is_no_gap_however_quiet_it_was(tmp_path: Path) -> None:
    time = Pausing()
    watches = [Streamed(time.quiet(61.0, bookmark(101))), Streamed([event("ADDED", pod("a", 102))])]
    timing = Timing(silence_s=2 * PATIENCE_S, first_pause_s=0.5)
    with watching(
        Story([page()], watches), tmp_path, timing, wait=time.wait, clock=time.clock
    ) as told:
        assert told.next(2) == ["list 100:", "changed a 102"]
        assert told.watched()[:2] == ["100", "101"]


def test_a_server_that_ends_every_watch_at_once_is_not_taken_for_a_quiet_cluster(
    tmp_path: Path,
) -> None:
    time = Pausing()
    lists = [page(), page(version=103)]
    timing = Timing(silence_s=2 * PATIENCE_S)
    with watching(
        Story(lists, [Streamed([])] * 4),
        tmp_path,
        timing,
        wait=time.wait,
        clock=time.clock,
        rng=AtTheEdge(),
    ) as told:
        assert told.next(4) == ["list 100:", "broken Unreachable", "list 103:", "resumed"]
    assert told.watched()[:4] == ["100"] * 4


@pytest.mark.parametrize("moment", ["quiet", "busy"])
def test_stopping_is_immediate_and_silent(tmp_path: Path, moment: str) -> None:
    def chatter() -> Iterator[bytes]:
        version = 100
        while True:
            version += 1
            yield event("ADDED", pod("a", version))

    story = Story([page()], [] if moment == "quiet" else [Streamed(chatter())])
    with watching(story, tmp_path) as told:
        told.next(1 if moment == "quiet" else 3)
        _until(lambda: bool(told.watched()))
        told.reflector.stop(PATIENCE_S)
        while not told.news.empty():
            assert isinstance(told.news.get(), Changed | Listed)
        assert not told.reflector._thread.is_alive()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_a_consumer_that_fails_is_not_mistaken_for_a_quiet_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)  # the traceback is expected
    told: list[News[Pod]] = []

    def consumer(news: News[Pod]) -> None:
        told.append(news)
        if isinstance(news, Listed):
            raise KeyError("a bug")

    with serve(lambda _: page()) as world, talking_to(world.url, tmp_path) as client:
        reflector = Reflector(client, "pods", PODS, Pod, consumer, timing=HASTE)
        reflector.start()
        reflector._thread.join(PATIENCE_S)
    last = told[-1]
    assert isinstance(last, Broken)
    assert "KeyError('a bug')" in str(last.error)


def test_the_error_of_a_dead_server_names_it(tmp_path: Path) -> None:
    with talking_to("http://127.0.0.1:1", tmp_path, patience=Patience(0.0, 0.0)) as client:
        news: queue.SimpleQueue[News[Pod]] = queue.SimpleQueue()
        reflector = Reflector(client, "pods", PODS, Pod, news.put, timing=HASTE)
        reflector.start()
        broken = news.get(timeout=PATIENCE_S)
        reflector.stop()
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, Unreachable)
    assert "http://127.0.0.1:1" in str(broken.error)
