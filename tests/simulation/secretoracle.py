"""Searches all that a story leaves behind for the token with which the run speaks to the server."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, EVENTS, LEASES, PODS
from rollout.sim.store import Store
from tests.simulation.network import TOKEN
from tests.simulation.threads import Machine

_KINDS = (CONFIG_MAPS, EVENTS, LEASES, DAEMONSETS, PODS)


def check_secrets(machine: Machine, store: Store) -> None:
    """Hold everything that anybody can read against the token.

    Raises:
        AssertionError: it stands there, as it is or in base64; with the place.
    """
    forms = (TOKEN.encode(), base64.b64encode(TOKEN.encode()).rstrip(b"="))
    for place, text in _outputs(machine, store):
        assert not any(form in text for form in forms), f"the token stands in {place}"


def _outputs(machine: Machine, store: Store) -> Iterator[tuple[str, bytes]]:
    for process in machine.processes.values():
        yield f"what {process.name} said", "".join(process.screen).encode()
    for path in Path(os.environ["XDG_STATE_HOME"]).rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    for resource in _KINDS:
        for found in store.scan(resource):
            yield f"{resource.plural} {found['metadata']['name']}", msgspec.json.encode(found)
