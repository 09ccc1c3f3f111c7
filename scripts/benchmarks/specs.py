"""The spec that is planned and applied, as a file; JSON is YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

_UNLIMITED: Final = 1000  # replacements per second


def write_spec(
    directory: Path,
    image: str,
    limit: int | str,
    waves: object = "standard",
    *,
    hands_over: bool = False,
) -> Path:
    """Write a spec for the embedded cluster's own DaemonSet.

    Args:
        directory: where.
        image: what it shall run.
        limit: `maxUnavailable`, or `maxSurge` of a hand-over.
        waves: as in a spec.
        hands_over: the new pod of a node comes before the old one goes.
    """
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": image}}},
        "strategy": {
            "maxUnavailable": 0 if hands_over else limit,
            "maxSurge": limit if hands_over else 0,
        },
    }
    document = {
        "apiVersion": "rollout/v1",
        "kind": "Rollout",
        "metadata": {"name": "bench", "namespace": "logging"},
        "spec": {
            "daemonSets": [item],
            "waves": waves,
            "health": {"soak": 0},
            "limits": {"replacementsPerSecond": _UNLIMITED},
        },
    }
    file = directory / "spec.yaml"
    file.write_text(json.dumps(document))
    return file
