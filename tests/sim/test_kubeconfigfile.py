"""The kubeconfig of an embedded cluster replaces its own kind and nothing else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from rollout.errors import RolloutError
from rollout.sim.kubeconfigfile import check_replaceable, kubeconfig, remove, write

OURS = kubeconfig("http://127.0.0.1:1", "secret")
OTHER = kubeconfig("http://127.0.0.1:2", "secret")


def test_it_names_server_user_and_namespace() -> None:
    assert OURS["clusters"][0]["cluster"] == {"server": "http://127.0.0.1:1"}
    assert OURS["users"][0]["user"] == {"token": "secret"}
    assert OURS["contexts"][0]["context"]["namespace"] == "default"
    assert OURS["current-context"] == OURS["contexts"][0]["name"]


def test_it_is_for_its_owner_only_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write(path, OURS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text()) == OURS
    remove(path, OURS)
    assert not path.exists()
    remove(path, OURS)


def test_one_that_an_earlier_cluster_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write(path, OURS)
    write(path, OTHER)
    assert yaml.safe_load(path.read_text()) == OTHER


def test_one_that_another_cluster_has_written_since_is_left(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write(path, OTHER)
    remove(path, OURS)
    assert yaml.safe_load(path.read_text()) == OTHER


def merged() -> str:
    """A file that holds an embedded cluster beside a real one."""
    real = {"name": "prod", "cluster": {"server": "https://prod"}}
    return yaml.safe_dump({**OURS, "clusters": [*OURS["clusters"], real]})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "notes",
        "- 1",
        "a: [",
        "\x00\xff",
        "{apiVersion: v1, kind: Config}",
        "{kind: Config, clusters: [1], users: [1], contexts: [1]}",
        merged(),
    ],
)
def test_what_is_not_of_an_embedded_cluster_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RolloutError, match="is not the kubeconfig of an embedded cluster"):
        check_replaceable(path)
    with pytest.raises(RolloutError):
        write(path, OURS)
    remove(path, OURS)
    assert path.read_bytes() == content.encode("latin-1")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match="cannot be written"):
        write(tmp_path / "missing" / "kubeconfig", OURS)
