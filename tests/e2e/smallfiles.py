"""Runs `rollout` where no file may grow beyond a size: `python -m tests.e2e.smallfiles SIZE ...`.

The kernel's limit stands for a disk that is full.
"""

from __future__ import annotations

import resource
import sys

from rollout.cli.main import run

if __name__ == "__main__":
    size = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    sys.exit(run(sys.argv[2:]))
