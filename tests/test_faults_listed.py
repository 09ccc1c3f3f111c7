"""Every numbered fault has a test that carries its number: `test_faults_07_...`.

Each such test proves that its fault was reached: by a counter, by what the server or the store has
seen, or by words that nothing but the fault can have led to. What counts as the proof of each
number stands here; a test that lacks it could pass on a day on which nothing went wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

STRUCK: Final = r"\bstrike\(|\.struck\b"  # the helpers that count, in `simulation/faultworld.py`
HITS: Final = r"\bhits\(|\.hits\b"  # counters of the fault script
PROOFS: Final = {
    1: rf"{HITS}|{STRUCK}",
    2: r"assert first\.node",
    3: r"assert first\.node",
    4: r"refused\.value\.code == code",  # the eviction that the run never asks for
    5: r"refused\.value\.code == code",
    6: HITS,
    7: HITS,
    8: r"replayed\[409\] >= 2",
    9: HITS,
    10: rf"undo\(\) > 0|{HITS}",  # how often the creation was refused
    11: HITS,
    12: HITS,
    13: rf"{HITS}|lacks",
    14: HITS,
    15: HITS,
    16: HITS,
    17: HITS,
    18: HITS,
    19: rf"{HITS}|flaps\['uid-n1'\] == 1",
    20: HITS,
    21: r"not any\(\('sendInitialEvents' in",  # it cannot be reached: nobody waits for one
    22: r"changes\[:3\] == \[True, False, True\]|stopped being ready 3 times",
    23: STRUCK,
    24: STRUCK,
    25: r"'terminating' in command\.text",
    26: rf"{STRUCK}|taints\]|fate\.fate == 'ineligible'|'Too many pods' in",
    27: rf"{STRUCK}|{HITS}|replaced\(world, command\)|enforced_in_doubt\(",
    28: r"second\.code == 10|deletes\(world\) == \[429\]",
    29: r"cluster_time\.asked > 0|ahead_s = jump_s|ours\.asked > before",
    30: STRUCK,
    31: rf"{STRUCK}|== \{{'node-008', 'node-009'\}}",  # those went first, for they were down
    32: STRUCK,
    33: rf"{STRUCK}|forget_revisions\(world\)|left_half_way\(world|pruned\.numbers == \[1\]"
    r"|end_with_a_failed_node\(world",
    34: r"'kube-controller-manager may be down",
    35: r"len\(unscheduled\) == 1|'ErrImagePull' in",
    36: rf"{STRUCK}|undo\(\) > 0|times\(\) > 0",
    37: r"f'zone \{zone\} is down: '",
    38: r"range\(1, ideal\.(writes|lines) \+ 1\)|kills >= 4",
    39: r"early\.code == ExitCode\.LOCKED",
    40: r"'File too large' in done\.out",
    41: r"\.torn == len\(lines\[-1\]\) - 7",
    42: r"the chain is broken' in checked\.err|'are missing' in other\.found",
    43: r"'File too large' in said\[0\]|len\(calls\) == good \+ 1",
    44: r"LARGEST|TOMBSTONES \+ 10",
    45: r"'rollout\.journal/v2' in refused\.err",
    46: r"'was made for cluster' in|\brefused\(|writes\(\)\) == before|made\.writes\(\)",
    47: r"unnoticed == \[\]",
    48: r"\.outcome is (outcome|Outcome\.NO_DATA|Outcome\.ERROR)",
    49: r"6 passed, 3 failed",
    50: r"more than maxAge",
    51: r"already unhealthy: 1 of 20",
    52: r"record\['said'\]|match='run 0a1b2c3d is to be'",
    53: r"not back\.over|begin\(world\)\.end\(\) == ExitCode\.HELD|'deletionTimestamp' in",
    54: rf"{STRUCK}|'as asked for' in|'out of plan' in",
    55: r"most == 1|'a -> b -> a' in text",
    56: rf"{STRUCK}|max_unavailable\.value == most|remove_node\(current\)",
}
_NAME = re.compile(r"test_faults?_(\d+(?:_and_\d+)*)_")


def numbered() -> Iterator[tuple[int, ast.FunctionDef]]:
    """Yield every test that has the number of a fault in its name, once for each number."""
    for file in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match = _NAME.match(node.name) if isinstance(node, ast.FunctionDef) else None
            if match is not None and isinstance(node, ast.FunctionDef):
                yield from ((int(number), node) for number in match[1].split("_and_"))


@pytest.fixture(scope="module")
def tests() -> list[tuple[int, ast.FunctionDef]]:
    return list(numbered())


def test_every_fault_has_a_test_and_a_proof_of_its_number(
    tests: list[tuple[int, ast.FunctionDef]],
) -> None:
    assert set(PROOFS) == set(range(1, 57))
    assert {number for number, _ in tests} == set(PROOFS)


def test_every_such_test_proves_that_its_fault_was_reached(
    tests: list[tuple[int, ast.FunctionDef]],
) -> None:
    unproved = [
        f"{number}: {test.name}"
        for number, test in tests
        if not re.search(PROOFS[number], ast.unparse(test))
    ]
    assert unproved == []
