"""Plays any number of seeds, makes the failing ones smaller and keeps them (`scripts/soak`)."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.sharedctypes import Synchronized

import msgspec

from tests.simulation import kept
from tests.simulation.scenarios import Scenario, check, draw
from tests.simulation.shrinking import shrink

SHOWN = 400  # characters of a failure


def failure(scenario: Scenario) -> str:
    """Return what goes wrong in a story; "" when nothing does."""
    try:
        check(scenario)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    return ""


def failure_of(seed: int) -> str:
    """Return what goes wrong with a seed; "" when nothing does."""
    return failure(draw(seed))


def keep(seed: int) -> Scenario:
    """Make a failing seed smaller and write it into the file of kept seeds."""
    kind = failure_of(seed).split(" ", 3)[:3]

    def fails(scenario: Scenario) -> bool:
        found = failure(scenario)
        return bool(found) and found.split(":")[0] == kind[0].rstrip(":")

    small = shrink(draw(seed), fails)
    kept.add(kept.Kept(f"seed-{seed}", "", small))
    return small


def take_processor(turn: Synchronized[int]) -> None:
    """Bind a worker to a processor of its own: some virtual machines keep all on the first one."""
    if sys.platform == "linux":
        free = sorted(os.sched_getaffinity(0))
        with turn.get_lock():
            os.sched_setaffinity(0, {free[turn.value % len(free)]})
            turn.value += 1


def main(arguments: Sequence[str]) -> int:
    """Play the seeds; returns 1 when one fails."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--keep", action="store_true", help="make failing seeds smaller, keep them")
    given = parser.parse_args(arguments)
    seeds = range(given.first, given.first + given.seeds)
    began, failed = time.monotonic(), []
    turn = multiprocessing.Value("i", 0)
    with ProcessPoolExecutor(given.jobs, initializer=take_processor, initargs=(turn,)) as pool:
        for seed, found in zip(seeds, pool.map(failure_of, seeds, chunksize=8), strict=True):
            if found:
                failed.append(seed)
                print(f"seed {seed} fails: {found[:SHOWN]}", flush=True)
            if (done := seed - given.first + 1) % 500 == 0:
                pace = done / (time.monotonic() - began)
                print(f"{done} seeds, {len(failed)} failed, {pace:.1f} a second", flush=True)
    for seed in failed if given.keep else ():
        small = keep(seed)
        print(f"kept seed {seed} as {msgspec.json.encode(small).decode()}", flush=True)
    passed = given.seeds - len(failed)
    print(f"{passed} of {given.seeds} seeds passed in {time.monotonic() - began:.0f} s")
    if failed:
        print(f"failed: {' '.join(map(str, failed))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
