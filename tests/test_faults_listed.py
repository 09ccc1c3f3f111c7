"""Every numbered fault has a test that carries its number: `test_faults_07_...`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FAULTS = range(1, 57)
_NAME = re.compile(r"test_faults?_(\d+(?:_and_\d+)*)_")


def numbers() -> set[int]:
    """Return the numbers of all faults that a test has in its name."""
    found: set[int] = set()
    for file in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match = _NAME.match(node.name) if isinstance(node, ast.FunctionDef) else None
            if match is not None:
                found.update(int(number) for number in match[1].split("_and_"))
    return found


@pytest.fixture(scope="module")
def tested() -> set[int]:
    return numbers()


@pytest.mark.parametrize("number", FAULTS)
def test_every_fault_has_a_test_of_its_number(number: int, tested: set[int]) -> None:
    assert number in tested


def test_no_test_carries_a_number_that_there_is_not(tested: set[int]) -> None:
    assert tested <= set(FAULTS)
