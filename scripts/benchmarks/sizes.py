"""How large the worlds of the benchmarks are: in earnest, and for the test that all of them run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of nodes, and how often what is timed is repeated.

    Attributes:
        runs: repetitions of each timed command; the median is shown.
        start_s: median of the time that pods take to start where time is real.
        served: nodes of the clusters that are reached over HTTP.
        planned: nodes of the fleets that are planned in process, smallest first.
        updated: nodes of the rolling update on the virtual clock.
        stored: nodes, and pods, of the cluster whose memory is measured.
        changes: changes that every watcher gets.
        watchers: numbers of watchers.
        replaced: nodes that are replaced while the reaction is measured.
        flying: nodes in flight then.
        handed_over: nodes, and nodes in flight, whose writes are counted in a hand-over.
        churned: nodes of the cluster that goes on changing while a run goes.
        churn: changes there.
        churn_s: how long the run lasts at least.
        races: (nodes, nodes in flight) of the races against the built-in controller, real time.
        pairs: how often each is run where chance decides how long each start takes.
        paced: nodes of the updates whose makespan is compared with the lower bound.
        shares: percent in flight there.
    """

    runs: int
    start_s: float
    served: int
    planned: tuple[int, ...]
    updated: int
    stored: int
    changes: int
    watchers: tuple[int, ...]
    replaced: int
    flying: int
    handed_over: tuple[int, int]
    churned: int
    churn: int
    churn_s: int
    races: tuple[tuple[int, int], ...]
    pairs: int
    paced: int
    shares: tuple[int, ...]


FULL: Final = Sizes(
    runs=5,
    start_s=2.0,
    served=5_000,
    planned=(500, 5_000, 100_000),
    updated=5_000,
    stored=100_000,
    changes=5_000,
    watchers=(1, 10),
    replaced=1_000,
    flying=50,
    handed_over=(100, 20),
    churned=500,
    churn=50_000,
    churn_s=60,
    races=((200, 20), (1_000, 50)),
    pairs=3,
    paced=1_000,
    shares=(1, 5, 10),
)
TINY: Final = Sizes(
    runs=1,
    start_s=0.1,
    served=8,
    planned=(10, 20),
    updated=10,
    stored=20,
    changes=20,
    watchers=(1, 2),
    replaced=4,
    flying=2,
    handed_over=(4, 2),
    churned=4,
    churn=40,
    churn_s=2,
    races=((2, 2),),
    pairs=1,
    paced=20,
    shares=(10,),
)
