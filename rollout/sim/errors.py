"""What the embedded API server refuses, as Kubernetes' own `Status` objects.

`behaviour.md` and the recorded exchanges in `tests/fidelity/` give code, reason and message.
"""

from __future__ import annotations

from typing import Any


class StatusError(Exception):
    """A refused request; `body()` is the `Status` object that goes over the wire."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """Return the `Status` object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        return status
