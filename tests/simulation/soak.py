"""Plays any number of seeds, makes failing ones smaller and keeps them (`scripts/soak`)."""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized

import msgspec

from tests.simulation import kept
from tests.simulation.comparing import check
from tests.simulation.scenarios import Scenario, draw
from tests.simulation.shrinking import shrink

SHOWN = 400  # characters of a failure
NAMED = 80  # the same in the name of a kept story
MOST_KEPT = 3  # seeds of one soak that are made smaller: one cause mostly fails many
HANG_S = 1200.0  # of real time, in which every story ends on a machine that does anything at all
INTERRUPTED = 130
_RULE = re.compile(r"\b([SL]\d+):")


def failure(scenario: Scenario) -> str:
    """Return what goes wrong in a story; "" when nothing does."""
    try:
        check(scenario)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    return ""


def failure_of(seed: int) -> str:
    """Return what goes wrong with a seed; "" when nothing does. One that hangs ends the process."""
    watchdog = threading.Timer(HANG_S, _say_that_it_hangs, (seed,))
    watchdog.daemon = True
    watchdog.start()
    try:
        return failure(draw(seed))
    finally:
        watchdog.cancel()


def _say_that_it_hangs(seed: int) -> None:
    print(f"seed {seed} hangs: no end after {HANG_S:.0f} s; try: {command(seed)}", flush=True)
    faulthandler.dump_traceback(all_threads=True)
    os._exit(1)


def command(seed: int) -> str:
    """Return the command that plays a seed again."""
    return f"scripts/soak --seeds 1 --first {seed}"


def kind_of(found: str) -> str:
    """Return what stays the same of a failure when its story becomes smaller: error and rule."""
    rule = _RULE.search(found.partition("\n")[0])
    return f"{found.partition(':')[0]} {rule[1] if rule is not None else ''}".rstrip()


def keep(seed: int, found: str) -> Scenario:
    """Make a failing seed smaller, and write it into the file of kept seeds under a name."""
    kind = kind_of(found)

    def fails(scenario: Scenario) -> bool:
        other = failure(scenario)
        return bool(other) and kind_of(other) == kind

    small = shrink(draw(seed), fails)
    what = re.sub(r"^\w+: ([\d.]+ )?", "", found.partition("\n")[0])
    kept.add(kept.Kept(f"seed {seed}: {what[:NAMED]}", "", small))
    return small


def _begin(turn: Synchronized[int]) -> None:
    """Leave Ctrl-C to the process that gives out the seeds; see `take_processor`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_processor(turn)


def take_processor(turn: Synchronized[int]) -> None:
    """Bind a worker to a processor of its own: some virtual machines keep all on the first one."""
    if sys.platform == "linux":
        free = sorted(os.sched_getaffinity(0))
        with turn.get_lock():
            os.sched_setaffinity(0, {free[turn.value % len(free)]})
            turn.value += 1


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main(arguments: Sequence[str]) -> int:
    """Play the seeds; returns 1 when one fails, 130 after Ctrl-C."""
    given = _parser().parse_args(arguments)
    began, failed, done = time.monotonic(), dict[int, str](), 0
    try:
        for seed, found in _play(range(given.first, given.first + given.seeds), given.jobs):
            done += 1
            if found:
                failed[seed] = found
                print(f"seed {seed} fails: {found[:SHOWN]}\ntry: {command(seed)}", flush=True)
            if done % 500 == 0:
                pace = done / (time.monotonic() - began)
                print(f"{done} seeds, {len(failed)} failed, {pace:.1f} a second", flush=True)
        for seed in list(failed)[:MOST_KEPT] if given.keep else ():
            print(f"seed {seed} is made smaller ...", flush=True)
            small = msgspec.json.encode(keep(seed, failed[seed])).decode()
            print(f"kept seed {seed} in {kept.FILE.name} as {small}", flush=True)
        code = 1 if failed else 0
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("interrupted")
    except BrokenProcessPool:
        code = 1
        print(f"a process of the soak has died, behind seed {given.first + done - 1}")
    passed = done - len(failed)
    print(f"{passed} of {given.seeds} seeds passed in {time.monotonic() - began:.0f} s")
    if failed:
        print(f"failed: {' '.join(map(str, failed))}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seeds", type=_at_least_one, default=1000, help="how many (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: 0)")
    jobs = os.cpu_count() or 1
    parser.add_argument("--jobs", type=_at_least_one, default=jobs, help="processes")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"make the first {MOST_KEPT} failing seeds smaller, and keep them",
    )
    return parser


def _play(seeds: Sequence[int], jobs: int) -> Iterator[tuple[int, str]]:
    """Yield each seed with what goes wrong with it.

    Raises:
        KeyboardInterrupt: on Ctrl-C, once the workers have ended.
        BrokenProcessPool: when one of them has ended by itself.
    """
    interrupted = threading.Event()

    def interrupt(_signal: int, _frame: object) -> None:
        # An exception from here could get lost where a worker is just being made.
        interrupted.set()
        for worker in multiprocessing.active_children():
            worker.terminate()

    before = signal.signal(signal.SIGINT, interrupt)
    turn = multiprocessing.Value("i", 0)
    try:
        with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(turn,)) as pool:
            print(f"{len(seeds)} seeds from {seeds[0]} on, {jobs} at once", flush=True)
            for seed, found in zip(seeds, pool.map(failure_of, seeds, chunksize=8), strict=True):
                if interrupted.is_set():
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
                yield seed, found
    except BrokenProcessPool:
        if not interrupted.is_set():
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted.is_set():
        raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
