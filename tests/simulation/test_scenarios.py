"""Random stories by seed: whatever happens, the rules hold and the end is the same."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import msgspec
import pytest

from rollout.sim.fleetfile import default_fleet
from tests.simulation import kept
from tests.simulation.comparing import check
from tests.simulation.playing import play
from tests.simulation.scenarios import Scenario, draw
from tests.simulation.shrinking import shrink
from tests.simulation.virtual import World

SEEDS = range(2000, 2050)  # scripts/test plays 2,000 before
BATCH = 10
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", SEEDS[::BATCH])
def test_whatever_happens_the_rules_hold_and_the_end_is_the_same(first: int) -> None:
    for seed in range(first, first + BATCH):
        try:
            check(draw(seed))
        except Exception as error:
            error.add_note(f"seed {seed}; try: scripts/soak --seeds 1 --first {seed}")
            raise


@pytest.mark.parametrize("one", kept.read(), ids=lambda one: one.name)
def test_what_went_wrong_once_stays_mended(one: kept.Kept) -> None:
    assert one.mended_by, "a kept seed without the commit that mended it"

    check(one.scenario)


def test_one_seed_is_one_history_to_the_last_byte_in_any_process() -> None:
    drawn = [story for story in map(draw, range(300)) if story.nodes < 5]
    kinds = ("kill", "interrupt", "unlock", "cleanup", "undo")
    chosen = [next(s for s in drawn if k in {o.kind for o in s.operators}) for k in kinds]
    code = "import sys; from tests.simulation.playing import play\n"
    code += "from tests.simulation.scenarios import draw\n"
    code += "for seed in sys.argv[1:]: print(repr(play(draw(int(seed)))))"
    # Another order of sets, other addresses, another time of day, another place on earth.
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", code, *(str(scenario.seed) for scenario in chosen)]

    elsewhere = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)

    assert [repr(play(scenario)) for scenario in chosen] == elsewhere.splitlines()


def test_a_story_stays_in_no_memory() -> None:
    """A soak plays any number of them in one process."""
    with World(default_fleet(2, 1)) as world:
        world.run("status", "log-agent", "-n", "logging")
    machine = weakref.ref(world.machine)
    del world
    gc.collect()

    assert machine() is None


def test_a_failing_story_becomes_as_small_as_it_can() -> None:
    large = next(s for s in map(draw, range(1000)) if len(s.faults) > 2 and s.nodes > 4)

    small = shrink(large, lambda s: s.nodes >= 2 and len(s.faults) > 0)

    assert (small.nodes, len(small.faults), small.operators) == (2, 1, ())
    assert msgspec.json.decode(msgspec.json.encode(small), type=Scenario) == small
