"""OpenAPI as far as kubectl asks for it."""

from __future__ import annotations

from rollout.sim.discovery import Discovery
from rollout.sim.requests import Response


def document(path: str, discovery: Discovery) -> Response | None:
    """Return the document under `/openapi/...`, None when there is none."""
    del path, discovery
    return None
