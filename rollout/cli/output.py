"""Standard output that cannot be written to any more: its reader has gone, or its disk is full."""

from __future__ import annotations

import os


def drop_output() -> None:
    """Let whatever is still written go nowhere, also what is in buffers at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
