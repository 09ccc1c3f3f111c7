"""README.md of the embedded cluster is the reference of the fleet file and of the fault file."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec
import pytest
import yaml

import rollout.sim
from rollout.sim import faultfile, fleetfile
from rollout.sim.auditevents import METADATA, REQUEST_RESPONSE, Asked
from rollout.sim.cluster import CONTROLLERS
from rollout.sim.components import SCHEDULER, kubelet_caller
from rollout.sim.faultfile import CLUSTER_ACTIONS, REQUEST_ACTIONS, WATCH_ACTIONS, read_faults
from rollout.sim.fleetfile import read_fleet
from rollout.sim.images import FaultKind
from rollout.sim.resources import PODS

TEXT = (Path(rollout.sim.__file__).parent / "README.md").read_text()
ROOT = Path(__file__).parents[2]
FLEET = TEXT.partition("\n## The fleet file\n")[2].partition("\n## ")[0]
FAULTS = TEXT.partition("\n## The fault file\n")[2].partition("\n## ")[0]
AUDIT = TEXT.partition("\n## The audit log\n")[2].partition("\n## ")[0]
NOT_IN_THE_FILE = {"Fleet", "Fault", "Script"}  # what becomes of it


def keys_of(module: object) -> list[str]:
    """Return all keys that a file may have."""
    structs = [
        item
        for name, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, msgspec.Struct) and item.__module__ == module.__name__  # type: ignore[attr-defined]
        if name not in NOT_IN_THE_FILE
    ]
    return sorted({f.encode_name for struct in structs for f in msgspec.structs.fields(struct)})


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@pytest.mark.parametrize("key", keys_of(fleetfile))
def test_every_key_of_the_fleet_file_is_there(key: str) -> None:
    assert key in words(FLEET)


@pytest.mark.parametrize("key", keys_of(faultfile))
def test_every_key_of_the_fault_file_is_there(key: str) -> None:
    assert key in words(FAULTS)


@pytest.mark.parametrize("kind", FaultKind)
def test_every_fault_of_an_image_is_in_its_table(kind: FaultKind) -> None:
    assert f"| `{kind.value}` |" in FLEET


@pytest.mark.parametrize("action", [*REQUEST_ACTIONS, *WATCH_ACTIONS, *CLUSTER_ACTIONS])
def test_every_action_is_in_a_table(action: str) -> None:
    head, *rest = action.split("_")
    assert f"| `{head + ''.join(word.capitalize() for word in rest)}` |" in FAULTS


def test_the_tables_hold_nothing_else() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", FLEET, re.MULTILINE)
    assert sorted(rows) == sorted(FaultKind)
    rows = re.findall(r"^\| `(\w+)` \|", FAULTS, re.MULTILINE)
    assert len(rows) == len({*REQUEST_ACTIONS, *WATCH_ACTIONS, *CLUSTER_ACTIONS})


def yaml_blocks(text: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


def test_the_examples_are_right(tmp_path: Path) -> None:
    (fleet,), (faults,) = yaml_blocks(FLEET), yaml_blocks(FAULTS)
    written = yaml.safe_load(fleet)
    written["daemonSets"] = [ds for ds in written["daemonSets"] if "manifest" not in ds]
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(written))
    assert len(read_fleet(tmp_path / "fleet.yaml").nodes) == 2
    assert len(read_faults(None, faults).faults) > 5


def test_the_bad_release_of_the_readme_is_one(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().partition("### Try a bad release\n")[2]
    section = re.split(r"\n##+ ", section)[0]
    fleet, faults = yaml_blocks(section)
    (tmp_path / "fleet.yaml").write_text(fleet)
    described = read_fleet(tmp_path / "fleet.yaml")
    fault = described.images["log-agent:2.4"].fault
    assert fault is not None
    assert fault.kind is FaultKind.CRASH
    spec = yaml.safe_load((ROOT / "plans" / "log-agent.yaml").read_text())
    assert spec["spec"]["daemonSets"][0]["target"]["set"]["image"] == {"agent": "log-agent:2.4"}
    assert spec["metadata"]["name"] in section
    assert [f.action for f in read_faults(None, faults).faults] == ["lose", "throttle"]


def test_it_names_all_who_stand_in_the_audit_log() -> None:
    accounts = set(re.findall(r":([a-z-]+)`", AUDIT))
    assert accounts == {*CONTROLLERS.values(), "kube-scheduler"}
    assert SCHEDULER.user in AUDIT
    assert kubelet_caller("NAME").user in AUDIT


def test_its_audit_policy_is_the_one_that_is_followed() -> None:
    policy = yaml.safe_load(AUDIT.partition("```yaml\n")[2].partition("```")[0])
    whole, rest = policy["rules"]
    assert rest == {"level": METADATA}
    assert whole["level"] == REQUEST_RESPONSE
    assert whole["resources"] == [{"group": "", "resources": ["pods", "pods/*"]}]
    verbs = {*whole["verbs"], "get", "list", "watch"}
    told = {verb for verb in verbs if Asked(0.0, verb, "/", {}, "", PODS).whole}
    assert told == set(whole["verbs"])
