"""Writes into the run record what a restart must not forget: times, claims, what is about to begin.

What stands in it is `storedtimes`'s affair, and when to write it the engine's; here it is handed to
the thread that writes the record, and the loop hears what came of it. An announcement is over when
the record says that pods are taken away from now on (S4): whoever takes one away waits for that.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from rollout.errors import ClusterError, StaleError
from rollout.executor.engine import events as ev
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.storedtimes import announce
from rollout.executor.record.timerecord import StoredTimes


@dataclass(frozen=True, slots=True)
class Scribe:
    """Who writes a run's times into its record, beside the loop.

    Attributes:
        thread: does all writing of the record, in the order in which it was asked for.
        keep: writes times into the record; raises what the cluster says against it.
        put: tells the loop what came of that.
    """

    thread: ThreadPoolExecutor
    keep: Callable[[StoredTimes], None]
    put: Callable[[ev.Event], None]


def keep_times(scribe: Scribe, engine: Engine) -> None:
    """Have the times written that the engine wants kept; nothing waits for them."""
    times = engine.times.take()
    if times is not None:
        scribe.thread.submit(_store, scribe, times)


def announce_all(scribe: Scribe, engine: Engine, now: float) -> Future[None]:
    """Let the record name all that was begun or claimed, and what is about to be.

    Returns:
        What is over when the record says so; it fails where the record cannot be written.
    """
    times = announce(engine, now)
    return scribe.thread.submit(_announce, scribe, times, now)


def _announce(scribe: Scribe, times: StoredTimes, began: float) -> None:
    _keep(scribe, times)
    scribe.put(ev.TimesStored(began))


def _store(scribe: Scribe, times: StoredTimes) -> None:
    with suppress(ClusterError, StaleError):  # the engine asks for it again
        _keep(scribe, times)


def _keep(scribe: Scribe, times: StoredTimes) -> None:
    try:
        scribe.keep(times)
    except BaseException:  # whatever it was: the engine would wait for its word for ever
        scribe.put(ev.TimesNotStored())
        raise
