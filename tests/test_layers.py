"""Imports point one way, and what decides talks to nobody."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rollout

ROOT = Path(rollout.__file__).parent

# Part of the package -> the parts that it may import, besides itself and the version.
LAYERS: dict[str, set[str]] = {
    "amounts": set(),
    "errors": set(),
    "quantity": set(),
    "printable": set(),
    "openings": {"quantity"},
    "patterns": set(),
    "unreadable": set(),
    "files": {"errors"},
    "memory": set(),
    "signature": {"errors", "printable"},
    "yamlsource": {"errors"},
    "fleet": {"errors", "quantity", "unreadable"},
    "specfields": set(),
    "gatespec": {"quantity", "openings", "patterns", "fleet", "specfields"},
    "notifyspec": {"gatespec", "specfields"},
    "spec": {"errors", "quantity", "fleet", "specfields", "gatespec", "notifyspec"},
    "specfile": {"errors", "fleet", "spec", "gates", "yamlsource"},
    "planner": {"errors", "quantity", "fleet", "spec", "gatespec", "notifyspec", "unreadable"},
    "cluster": {"errors", "quantity", "fleet", "unreadable"},
    "gates": {
        *("amounts", "errors", "quantity", "openings", "patterns", "files", "yamlsource"),
        *("fleet", "gatespec", "cluster", "unreadable", "printable"),
    },
    "journal": {"errors", "unreadable"},
    "executor": {
        *("errors", "quantity", "fleet", "notifyspec", "gatespec", "planner"),
        *("gates", "cluster", "journal", "unreadable", "printable", "signature"),
    },
    "report": {
        *("errors", "quantity", "fleet", "spec", "gatespec", "planner", "gates", "executor"),
        "printable",
    },
    "notify": {
        *("errors", "quantity", "fleet", "notifyspec", "gatespec", "planner", "gates", "cluster"),
        "executor",
    },
    "sim": {"amounts", "errors", "quantity", "files", "memory", "yamlsource", "fleet"},
    "cli": {
        *("errors", "quantity", "files", "memory", "yamlsource", "fleet", "spec", "specfile"),
        *("gatespec", "planner", "gates", "cluster", "journal", "executor", "report", "notify"),
        *("sim", "printable", "signature"),
    },
    "__main__": {"cli"},
}

# The same inside of the executor; what stands in no part of it may import all three.
EXECUTOR: dict[str, set[str]] = {
    "record": set(),
    "lock": {"record"},
    "engine": {"record", "lock"},
}

# All that the deciding part may use from outside: nothing in it reads a file, a socket or a clock.
PURE = {
    *("__future__", "bisect", "collections", "copy", "dataclasses", "datetime", "difflib", "enum"),
    *("functools", "hashlib", "heapq", "itertools", "math", "re", "types", "typing"),
    *("msgspec", "networkx", "yaml"),
    "urllib.parse",  # takes addresses apart and asks nobody
    *("cronsim", "re2", "zoneinfo"),  # the last reads what is constant: the time zones' rules
}
ONLY_AT_THE_EDGE = {"kubernetes", "urllib3", "tenacity"}
HIDDEN_INPUT = {"open", "input", "print", "exec", "eval", "__import__"}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}


# What a virtual machine puts its own in place of (tests/simulation): it finds these at the top of a
# module, and in a function it wouldn't.
SYSTEM = {"time", "threading", "queue", "random", "secrets", "concurrent", "datetime"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {module_name(path): ast.parse(path.read_bytes()) for path in sorted(ROOT.rglob("*.py"))}


def imports(module: str) -> Iterator[str]:
    """Yield what a module imports, at its top or in a function; modules of ours by full name."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} uses a relative import"
            source = node.module or ""
            inner = [f"{source}.{alias.name}" for alias in node.names]
            yield from [name for name in inner if name in TREES] or [source]


def part_of(module: str) -> str:
    return ([*module.split("."), ""])[1]


def part_of_the_executor(module: str) -> str:
    """Return the package below the executor's, or the module that stands in none."""
    return module.split(".")[2]


def reached_from(*roots: str) -> set[str]:
    """Return all of our modules that are loaded with the roots, the roots included."""
    reached: set[str] = set()
    left = [m for m in TREES if any(m == r or m.startswith(f"{r}.") for r in roots)]
    while left:
        module = left.pop()
        if module in reached:
            continue
        reached.add(module)
        parents = [module.rpartition(".")[0]] if "." in module else []
        left.extend(name for name in (*imports(module), *parents) if name in TREES)
    return reached


DECIDING = sorted(reached_from("rollout.fleet", "rollout.planner", "rollout.executor.engine"))


def test_the_deciding_part_is_what_it_is_thought_to_be() -> None:
    assert {
        "rollout.fleet.snapshot",
        "rollout.planner.build",
        "rollout.executor.engine.engine",
    } < set(DECIDING)
    assert {"cluster", "sim", "cli", "report", "specfile"}.isdisjoint(map(part_of, DECIDING))


@pytest.mark.parametrize("module", DECIDING)
def test_deciding_code_imports_nothing_that_talks(module: str) -> None:
    names = (name for name in imports(module) if name not in PURE)
    outside = {name.partition(".")[0] for name in names} - {"rollout"}
    assert outside <= PURE


@pytest.mark.parametrize("module", DECIDING)
def test_deciding_code_opens_no_file_and_reads_no_clock(module: str) -> None:
    calls = [node.func for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    methods = {
        (call.value.id, call.attr)
        for call in calls
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)
    }
    assert names.isdisjoint(HIDDEN_INPUT)
    assert methods.isdisjoint(CLOCKS)


def test_deciding_code_runs_without_the_clients_libraries() -> None:
    code = "import sys, rollout.planner.build, rollout.executor.engine.engine; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert "rollout.executor.engine.engine" in loaded
    assert loaded.isdisjoint(ONLY_AT_THE_EDGE | {"rollout.cluster", "rollout.sim", "rollout.cli"})
    assert "networkx" not in loaded  # a tenth of a second, for graphs that are searched


@pytest.mark.parametrize("module", [m for m in TREES if part_of(m)])
def test_imports_point_one_way(module: str) -> None:
    own = part_of(module)
    assert own in LAYERS, f"say in LAYERS where '{own}' stands"
    used = {part_of(name) for name in imports(module) if name.startswith("rollout.")}
    assert used - {own} <= LAYERS[own]


@pytest.mark.parametrize("module", [m for m in TREES if m.startswith("rollout.executor.")])
def test_imports_point_one_way_in_the_executor(module: str) -> None:
    own = part_of_the_executor(module)
    used = {name for name in imports(module) if name.startswith("rollout.executor.")}
    if own in EXECUTOR:
        assert {part_of_the_executor(name) for name in used} - {own} <= EXECUTOR[own]


def test_layers_have_no_cycle() -> None:
    done: set[str] = set()
    while left := {part for part, below in LAYERS.items() if part not in done and below <= done}:
        done |= left
    assert done == set(LAYERS)


@pytest.mark.parametrize("module", TREES)
def test_only_the_edge_knows_the_clients_libraries(module: str) -> None:
    used = {name.partition(".")[0] for name in imports(module)} & ONLY_AT_THE_EDGE
    assert not used or part_of(module) == "cluster"


@pytest.mark.parametrize("module", [m for m in TREES if part_of(m) != "sim"])
def test_time_chance_and_threads_are_imported_at_the_top(module: str) -> None:
    functions = [n for n in ast.walk(TREES[module]) if isinstance(n, ast.FunctionDef)]
    for node in (node for function in functions for node in ast.walk(function)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert SYSTEM.isdisjoint(name.partition(".")[0] for name in names), ast.unparse(node)
