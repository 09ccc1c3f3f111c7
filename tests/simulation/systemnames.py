"""Where the program names a thing of the system, for which a virtual machine puts its own."""

from __future__ import annotations

import concurrent.futures
import inspect
import pkgutil
import queue
import random
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

import tenacity

import rollout
from rollout.cli import running
from rollout.cluster.client import connect
from rollout.executor.lock import processes
from rollout.gates import outside
from rollout.journal.file import _write_all

_CLUSTER = ("rollout.sim", "rollout.cli.sim")  # runs on the cluster's own clock
_REAL = (
    time,
    time.time,
    time.monotonic,
    time.sleep,
    threading,
    queue,
    random,
    secrets,
    concurrent.futures.ThreadPoolExecutor,
    datetime,
    connect,
    outside.ask,
    _write_all,
    running.stop_on_signals,
    processes.this_process,
    processes.has_ended,
)
_known: tuple[int, list[tuple[dict[str, Any], str, object]]] = (0, [])


def places() -> list[tuple[dict[str, Any], str, object]]:
    """Return every name and every default in the program that means a thing of the system."""
    global _known  # noqa: PLW0603 - found once; modules don't change
    if not _known[0]:
        for found in pkgutil.walk_packages(rollout.__path__, "rollout."):
            if not found.name.startswith(_CLUSTER) and not found.name.endswith("__main__"):
                import_module(found.name)
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("rollout.") and not name.startswith(_CLUSTER)
    ]
    if _known[0] != len(modules):
        places: list[tuple[dict[str, Any], str, object]] = []
        for module in [*modules, tenacity]:
            places += _in_names(vars(module))
            for function in _functions(module):
                places += _in_names(function.__kwdefaults__ or {})
                fixed = _in_names(dict(enumerate(function.__defaults__ or ())))
                assert not fixed, (
                    f"{function.__qualname__}: only a keyword's default can be another"
                )
        _known = (len(modules), places)
    return _known[1]


def _in_names(names: dict[Any, Any]) -> list[tuple[dict[str, Any], str, object]]:
    real = {id(one): one for one in _REAL}
    return [(names, key, real[id(value)]) for key, value in names.items() if id(value) in real]


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in vars(module).values():
        if getattr(value, "__module__", "") != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield value
        elif inspect.isclass(value):
            yield from (m for m in vars(value).values() if isinstance(m, FunctionType))
