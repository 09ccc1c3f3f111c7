"""What a server sends down a watch: news or trouble, never the end of the reflector."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.cluster.retry import Patience
from rollout.cluster.watch import Broken, Changed, Listed, News, Reflector, Timing
from rollout.fleet.objects import Pod
from tests.cluster.world import (
    Answer,
    Asked,
    Reply,
    Scenario,
    Streamed,
    event,
    pod,
    pod_list,
    serve,
    talking_to,
)
from tests.fuzzing.mutations import VALUES, damaged_value

PODS = "/api/v1/namespaces/default/pods"
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
END = 9_000_000  # resource version of the event that ends each example


def events() -> st.SearchStrategy[bytes]:
    """Lines of a watch: garbage, JSON of any kind, and real events with damage."""
    real = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]).flatmap(
        lambda kind: damaged_value({"type": kind, "object": pod("a", 101)})
    )
    return st.one_of(
        st.binary(max_size=60),
        VALUES.map(msgspec.json.encode),
        real.map(msgspec.json.encode),
    )


@SETTINGS
@given(lines=st.lists(events(), max_size=6))
def test_the_reflector_survives_every_line_and_reads_on(tmp_path: Path, lines: list[bytes]) -> None:
    streams = iter(
        [Streamed([line + b"\n" for line in lines]), Streamed([event("ADDED", pod("end", END))])]
    )

    def answer(asked: Asked) -> Answer:
        if "watch" not in asked.query:
            return Reply(pod_list(version=100))
        return next(streams, Streamed(itertools.chain([event("MODIFIED", pod("end", END + 1))])))

    with watching(answer, tmp_path) as news:
        while not ended(news.get(timeout=120.0)):
            pass


@contextmanager
def watching(answer: Scenario, folder: Path) -> Iterator[queue.SimpleQueue[News[Any]]]:
    """Watch pods of a server that answers so; no pause is made after a failure."""
    news: queue.SimpleQueue[News[Any]] = queue.SimpleQueue()
    timing = Timing(silence_s=5.0, first_pause_s=0.0, max_pause_s=0.0)
    with (
        serve(answer) as world,
        talking_to(world.url, folder, patience=Patience(0.0, 0.0)) as client,
    ):
        reflector = Reflector(client, "pods", PODS, Pod, news.put, timing=timing)
        reflector.start()
        try:
            yield news
        finally:
            reflector.stop()


def ended(told: News[Any]) -> bool:
    if isinstance(told, Broken):
        assert "the watch ended" not in str(told.error)
    return isinstance(told, Changed) and told.object.metadata.name == "end"


@SETTINGS
@given(body=st.one_of(st.binary(max_size=80), damaged_value(pod_list(pod("a", 90), version=100))))
def test_a_list_that_cannot_be_read_is_never_an_empty_one(tmp_path: Path, body: object) -> None:
    answers = iter([Reply(body if isinstance(body, bytes) else msgspec.json.encode(body))])
    silent = Streamed([])

    def answer(asked: Asked) -> Answer:
        if "watch" in asked.query:
            return silent
        return next(answers, Reply(pod_list(pod("real", 9_999_999), version=9_999_999)))

    with watching(answer, tmp_path) as news:
        first = news.get(timeout=120.0)
    if isinstance(first, Listed):
        assert isinstance(body, dict)
        assert len(first.items) == len(body["items"])
    else:
        assert isinstance(first, Broken)
