"""The list of guards fits the program: every mutation applies, and every killer is there."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from scripts.mutations.__main__ import ROOT, mutate
from scripts.mutations.guard import Guard
from scripts.mutations.guards import GUARDS


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_every_mutation_applies_and_leaves_a_program(guard: Guard, tmp_path: Path) -> None:
    for place in guard.places:
        (tmp_path / place.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place.file, tmp_path / place.file)

    mutate(guard, tmp_path)

    for place in guard.places:
        mutant = (tmp_path / place.file).read_text()
        assert mutant != (ROOT / place.file).read_text()
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
