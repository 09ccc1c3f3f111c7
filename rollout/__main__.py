"""Entry point: `rollout` and `python -m rollout`."""

from __future__ import annotations

import gc
import sys

from rollout.cli.main import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter would look through all objects for what could still be freed
    sys.exit(code)


if __name__ == "__main__":
    main()
