"""Every spec in plans/ loads, plans and can be carried out on the embedded cluster as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.sim.fleetfile import default_fleet, read_fleet
from tests.e2e.world import QUICK, World, world

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))
FLEETS = sorted((ROOT / "plans" / "fleets").glob("*.yaml"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(default_fleet(), tmp_path_factory.mktemp("cluster")) as made:
        made.set_image("*", QUICK)
        yield made


def test_there_are_plans() -> None:
    assert ROOT / "plans" / "log-agent.yaml" in PLANS


@pytest.mark.parametrize("spec", PLANS, ids=lambda path: path.stem)
def test_it_plans_on_the_default_cluster(cluster: World, spec: Path) -> None:
    done = cluster.rollout("plan", "-f", spec)
    assert done.code == 0, done.err
    assert re.search(r"^(Plan: 20 to replace in|Nothing to do: 20 of 20) ", done.out, re.MULTILINE)
    assert "Warning" not in done.out


@pytest.mark.parametrize("spec", PLANS, ids=lambda path: path.stem)
def test_it_says_at_its_top_what_it_is_for(spec: Path) -> None:
    first, *rest = spec.read_text().splitlines()
    assert re.match(r"# [A-Z]", first)
    assert any(line.startswith("apiVersion: rollout/v1") for line in rest)
    assert f"[{spec.name}]({spec.name})" in (spec.parent / "README.md").read_text()


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_a_fleet_comes_up_and_all_specs_plan_on_it(path: Path, tmp_path: Path) -> None:
    with world(read_fleet(path), tmp_path) as cluster:
        for spec in PLANS:
            done = cluster.rollout("plan", "-f", spec)
            assert done.code == 0, done.err


def test_on_delete_finishes_what_its_fleet_has_left(tmp_path: Path) -> None:
    with world(read_fleet(ROOT / "plans" / "fleets" / "half-done.yaml"), tmp_path) as cluster:
        done = cluster.rollout("plan", "-f", ROOT / "plans" / "on-delete.yaml")
    assert "12 to replace in 3 waves, 8 up to date, 2 left out, 2 not for this" in done.out
    assert re.search(r"worker-cordoned .* cordoned", done.out)


def test_update_and_undo_carry_a_cluster_there_and_back(cluster: World) -> None:
    for name, image in (("log-agent", "log-agent:2.4"), ("undo", "log-agent:2.3")):
        spec = ROOT / "plans" / f"{name}.yaml"
        done = cluster.rollout("apply", "-f", spec, "--yes")
        assert done.code == 0, done.err
        assert set(cluster.images().values()) == {image}
