"""What is measured inside a process of its own: `children.py NAME ARGUMENTS` prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final


def _plan(nodes: str) -> Any:  # noqa: ANN401 - JSON
    from scripts.benchmarks.synthetic import plan_synthetic  # noqa: PLC0415

    return plan_synthetic(int(nodes))


def _store(nodes: str) -> Any:  # noqa: ANN401 - any JSON
    from scripts.benchmarks.virtual import store  # noqa: PLC0415

    return store(int(nodes))


def _update(nodes: str) -> Any:  # noqa: ANN401 - any JSON
    from scripts.benchmarks.virtual import update  # noqa: PLC0415

    return update(int(nodes))


def _makespan(times: str, nodes: str, percent: str) -> Any:  # noqa: ANN401 - any JSON
    from scripts.benchmarks.makespan import compare  # noqa: PLC0415

    return compare(times, int(nodes), int(percent))


_CHILDREN: Final[dict[str, Callable[..., Any]]] = {
    "plan": _plan,
    "store": _store,
    "update": _update,
    "makespan": _makespan,
}


if __name__ == "__main__":
    print(json.dumps(_CHILDREN[sys.argv[1]](*sys.argv[2:])))
