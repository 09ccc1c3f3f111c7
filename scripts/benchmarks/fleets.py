"""Fleets whose nodes differ in how long pods take to start on them."""

from __future__ import annotations

import math
import random
from typing import Final

import msgspec

from rollout.sim.fleetfile import Fleet, NodeGroup, User, default_fleet
from rollout.sim.images import Behaviour, Timing

SIGMA: Final = 0.6  # of the logarithm of lognormal times
STRAGGLERS: Final = 0.02  # share of the nodes that are slow
SLOWER: Final = 5.0


def uneven_fleet(
    times: str,
    nodes: int,
    median_s: float,
    *,
    again: float = 0.0,
    seed: int = 1,
    users: tuple[User, ...] = (),
) -> Fleet:
    """Return a fleet of one DaemonSet; which node is slow is a property of the node.

    Args:
        times: `constant`, `lognormal` or `stragglers`.
        nodes: how many there are.
        median_s: seconds that a pod takes to start.
        again: sigma of what each start adds to the property of the node; all of `SIGMA`: only
            chance decides.
        seed: of the cluster; of one seed, the k-th start takes the same time whatever node it is.
        users: who may talk to its server.
    """
    rng = random.Random(f"{times}/{nodes}")  # noqa: S311 - a simulation
    images = {
        f"*@{name}": Behaviour(start=Timing(median_s * _factor(times, again, rng), sigma=again))
        for name in NodeGroup(count=nodes).names()
    }
    return msgspec.structs.replace(default_fleet(nodes, seed=seed), images=images, users=users)


def _factor(times: str, again: float, rng: random.Random) -> float:
    """Return how much slower one node is than an ordinary one."""
    match times:
        case "lognormal":
            return math.exp(rng.gauss(0.0, math.sqrt(SIGMA**2 - again**2)))
        case "stragglers":
            return SLOWER if rng.random() < STRAGGLERS else 1.0
    return 1.0
