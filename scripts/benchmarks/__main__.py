"""Entry of `scripts/bench`: which benchmarks run, and at which size."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

from scripts.benchmarks import applying, command_line, embedded, planning
from scripts.benchmarks.sizes import FULL, TINY, Sizes
from scripts.benchmarks.table import Row, machine, markdown, text

_BENCHMARKS: Final[dict[str, Callable[[Sizes], list[Row]]]] = {
    "sim": embedded.rows,
    "plan": planning.rows,
    "apply": applying.rows,
    "cli": command_line.rows,
}


def main() -> None:
    """Run what was asked for and print one table."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("which", nargs="?", choices=[*_BENCHMARKS, "all"], default="all")
    parser.add_argument(
        "--tiny", action="store_true", help="worlds so small that the figures mean nothing"
    )
    parser.add_argument("--markdown", action="store_true", help="only what was promised, as a list")
    given = parser.parse_args()
    sizes = TINY if given.tiny else FULL
    found = {}
    for name in _BENCHMARKS if given.which == "all" else [given.which]:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        found[name] = _BENCHMARKS[name](sizes)
    print(markdown(found) if given.markdown else f"{machine()}\n\n{text(found)}", flush=True)


if __name__ == "__main__":
    main()
