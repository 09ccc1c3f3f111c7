"""`scripts/bench cli`: what every command costs before it does anything."""

from __future__ import annotations

from functools import partial
from typing import Final

from scripts.benchmarks.processes import PYTHON, ROLLOUT, measured, medians
from scripts.benchmarks.sizes import Sizes
from scripts.benchmarks.table import Row, at_most, plain

_MORE: Final = 3  # these are short: so many times more runs than of the long commands
_TARGET: Final = 3.0


def _completion(words: str) -> dict[str, str]:
    """Return the environment in which a shell asks what may stand behind `words`."""
    return {
        "_ROLLOUT_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }


def rows(sizes: Sizes) -> list[Row]:
    """Measure and return the rows."""
    commands = {
        "python -c 'import click'": partial(measured, [PYTHON, "-c", "import click"]),
        "rollout --help": partial(measured, [ROLLOUT, "--help"]),
        "rollout apply --help": partial(measured, [ROLLOUT, "apply", "--help"]),
        "completion of 'rollout p'": partial(measured, [ROLLOUT], _completion("rollout p")),
        "completion of 'rollout apply --'": partial(
            measured, [ROLLOUT], _completion("rollout apply --")
        ),
    }
    used = medians(commands, sizes.runs * _MORE)
    (reference, base), *others = used.items()
    found = [plain(f"{reference}, whole process", f"{base.wall_s * 1000:.0f} ms")]
    for name, usage in others:
        found += [
            plain(name, f"{usage.wall_s * 1000:.0f} ms"),
            at_most("  over importing click", usage.wall_s / base.wall_s, _TARGET, digits=2),
        ]
    return found
