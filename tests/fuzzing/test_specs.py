"""Specs of any kind: read, or refused with one error that says where; nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.errors import DocumentError
from rollout.spec import LoadedSpec
from rollout.specfile import load_spec
from tests.fuzzing.mutations import VALUES, damaged_text, damaged_value

PLANS = Path(__file__).parents[2] / "plans"
SPECS = {path.name: path.read_text() for path in sorted(PLANS.glob("*.yaml"))}
MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FEW = settings(MANY, max_examples=25)


def read(directory: Path, data: bytes) -> LoadedSpec | None:
    """Return the spec, or None after an error that names the file and a line."""
    path = directory / "spec.yaml"
    path.write_bytes(data)
    (directory / "manifests").mkdir(exist_ok=True)
    for manifest in (PLANS / "manifests").glob("*.yaml"):
        (directory / "manifests" / manifest.name).write_bytes(manifest.read_bytes())
    try:
        return load_spec(path)
    except DocumentError as error:
        said = str(error)
    assert re.match(rf"{re.escape(str(directory))}/[^:\n]+:?(\d+)?: ", said), "says no place"
    assert len(said) < 2000, "too long to read"
    return None


@MANY
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data) is None


@MANY
@given(value=VALUES)
def test_any_value_where_the_spec_belongs(tmp_path: Path, value: object) -> None:
    document = {"apiVersion": "rollout/v1", "kind": "Rollout", "metadata": {"name": "x"}}
    assert read(tmp_path, yaml.safe_dump({**document, "spec": value}).encode()) is None


@pytest.mark.parametrize("name", SPECS)
@FEW
@given(data=st.data())
def test_damaged_lines_of_a_good_spec(tmp_path: Path, name: str, data: st.DataObject) -> None:
    text = data.draw(damaged_text(SPECS[name]))
    loaded = read(tmp_path, text.encode(errors="replace"))
    assert loaded is None or loaded.spec.spec.daemon_sets


@pytest.mark.parametrize("name", SPECS)
@FEW
@given(data=st.data())
def test_another_value_anywhere_in_a_good_spec(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    document = data.draw(damaged_value(yaml.safe_load(SPECS[name])))
    loaded = read(tmp_path, yaml.safe_dump(document).encode())
    assert loaded is None or msgspec.json.encode(loaded.spec)


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert read(tmp_path, "\n".join(levels).encode()) is None


def test_a_number_of_a_million_digits_does_not_hang(tmp_path: Path) -> None:
    text = SPECS["log-agent.yaml"] + "\nextra: " + "9" * 1_000_000 + "\n"
    assert read(tmp_path, text.encode()) is None
