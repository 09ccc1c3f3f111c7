"""Writing files that others must neither read nor find half-written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from rollout.errors import RolloutError


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600, whole or not at all.

    Raises:
        RolloutError: when the file cannot be written; what was there stays as it was.
    """
    temporary = ""
    try:
        # mkstemp gives mode 0600 from the first moment on.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        reason = error.strerror or str(error)
        raise RolloutError(f"{path}: cannot be written: {reason}; choose another place") from None
