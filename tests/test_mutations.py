"""The list of guards fits the program: every mutation applies, and every killer is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from scripts.mutations.__main__ import ROOT, patched
from scripts.mutations.guards import GUARDS, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_mutation_applies_and_leaves_a_program(guard: Guard) -> None:
    source = (ROOT / guard.file).read_text()

    mutant = patched(guard, source)

    assert mutant != source
    ast.parse(mutant)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_killer_is_there(guard: Guard) -> None:
    assert guard.killers
    for killer in guard.killers:
        path, _, name = killer.partition("::")
        assert name.partition("[")[0] in {"", *_tests(ROOT / path)}


def test_no_guard_stands_twice() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)


def _tests(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {n.name for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test")}
