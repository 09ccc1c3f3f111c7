"""Pictures of a run on the virtual clock."""

from __future__ import annotations

import io
import itertools
import math
import random

from rich.console import Console

from rollout.report.liveview import ROWS, WAVES_SHOWN, Picture, Viewer
from rollout.report.screen import LiveReporter
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import default_fleet
from tests.simulation.driver import VirtualRun, make_plan

TARGET = {"set": {"image": {"agent": "log-agent:2.4"}}}


def run_of(nodes: int, limit: int, waves: object = "fast") -> VirtualRun:
    clock = VirtualClock()
    cluster = Cluster(clock, default_fleet(nodes, 2), Settings(track_managers=False, events=False))
    cluster.start()
    item = {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": limit}}
    body = {"daemonSets": [item], "waves": waves, "health": {"soak": 5}}
    run = VirtualRun(cluster, make_plan(cluster, body), random.Random(1))
    run.start()
    return run


def pictures(run: VirtualRun) -> list[Picture]:
    """Take a picture every second until the end."""
    clock, viewer, taken = run.clock, Viewer(), []
    assert isinstance(clock, VirtualClock)
    while run.finish is None:
        taken.append(viewer.take(run.engine, clock.now()))
        clock.advance(1)
    return [*taken, viewer.take(run.engine, clock.now())]


def test_pictures_of_a_run_show_its_progress_from_begin_to_end() -> None:
    taken = pictures(run_of(30, 15, [{"name": "canary", "size": 2}, {"name": "rest"}]))
    done = [picture.done for picture in taken]
    assert (done, done[0], done[-1]) == (sorted(done), 0, 30)
    states = [tuple(wave.state for wave in picture.waves) for picture in taken]
    assert list(dict.fromkeys(states)) == [
        ("waiting", "waiting"),
        ("running", "waiting"),
        *((("done", "waiting"),) if ("done", "waiting") in states else ()),
        ("done", "running"),
        ("done", "done"),
    ]
    busiest = max(taken, key=lambda picture: len(picture.flying) + picture.flying_hidden)
    assert len(busiest.flying) == ROWS
    assert busiest.flying_hidden == 5
    assert all(run.lacks and run.phase for run in busiest.flying)
    assert all(picture.why for picture in taken)
    assert "15 of maxUnavailable 15 in use" in busiest.budgets[0]
    told = [picture.eta_s for picture in taken if picture.eta_s is not None]
    assert told[-1] == 0.0


def test_what_is_left_of_the_time_does_not_grow_only_because_no_node_got_done_just_now() -> None:
    taken = pictures(run_of(30, 3, [2, "100%"]))
    told = [(p.done, p.eta_s) for p in taken if p.eta_s is not None]
    pairs = [(a, b) for (was, a), (is_, b) in itertools.pairwise(told) if was == is_]
    assert len(pairs) > 20
    assert all(after <= before for before, after in pairs)
    assert all(eta >= 1.0 for done, eta in told if done < 30)


def test_of_many_waves_those_around_the_running_one_are_shown() -> None:
    waves = [{"name": f"w{n}", "size": 1} for n in range(20)]
    for picture in pictures(run_of(20, 1, waves)):
        assert len(picture.waves) == WAVES_SHOWN
        assert picture.waves_hidden == 20 - WAVES_SHOWN
        unfinished = [wave.name for wave in picture.waves if wave.state != "done"]
        assert picture.done == 20 or unfinished[0] == f"w{picture.done}"


def test_pictures_are_taken_four_times_a_second_at_most() -> None:
    console = Console(file=io.StringIO(), width=80)
    reporter = LiveReporter(console, print)
    engine = run_of(3, 1).engine
    assert reporter.look(engine, 100.0) == 100.25
    first = reporter._shown
    assert reporter.look(engine, 100.2) == 100.25
    assert reporter._shown is first
    assert reporter.look(engine, 100.25) == 100.5
    assert reporter._shown is not first
    assert math.isfinite(reporter.look(engine, 200.0))
    reporter.close()
