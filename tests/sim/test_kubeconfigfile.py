"""The kubeconfig of an embedded cluster replaces its own kind and leaves everything else alone."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.errors import RolloutError
from rollout.sim.kubeconfigfile import NAME, check_place, current_context, kubeconfig, remove, write

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


REAL = """
# ours
apiVersion: v1
kind: Config
clusters:
- {name: prod, cluster: {server: "https://prod"}}
users:
- name: ann
  user: {auth-provider: {name: oidc, config: {expiry: 2027-01-15T08:00:00Z}}}
contexts:
- {name: prod, context: {cluster: prod, user: ann}}
current-context: prod
extensions: [{name: mine}]
"""


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # noqa: S506 - text only
    return found


@pytest.mark.parametrize("use_context", [False, True])
def test_it_stands_beside_real_clusters_and_is_taken_out_again(
    tmp_path: Path, *, use_context: bool
) -> None:
    path, link = tmp_path / "config", tmp_path / "link"
    path.write_text(REAL)
    link.symlink_to(path)
    before = content(path)

    current = write(link, OURS, use_context=use_context)

    assert current == (NAME if use_context else "prod")
    assert [c["name"] for c in content(path)["contexts"]] == ["prod", NAME]
    assert content(path)["clusters"] == [*before["clusters"], *OURS["clusters"]]
    remove(link, OURS, "prod")
    assert content(path) == before
    assert link.is_symlink()


def test_in_a_kubeconfig_without_a_current_context_it_becomes_that(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("{apiVersion: v1, kind: Config, clusters: null}")
    assert current_context(path) == ""
    assert write(path, OURS) == NAME
    assert current_context(path) == NAME
    remove(path, OURS)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "notes",
        "- 1",
        "a: [",
        "\x00\xff",
        "{kind: Config, clusters: [1], users: [1], contexts: [1]}",
        "{kind: Config, clusters: 1}",
        "{kind: Pod}",
    ],
)
def test_what_is_no_kubeconfig_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RolloutError, match="is no kubeconfig"):
        check_place(path)
    with pytest.raises(RolloutError):
        write(path, OURS)
    remove(path, OURS)
    assert path.read_bytes() == content.encode("latin-1")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match="cannot be written"):
        write(tmp_path / "missing" / "kubeconfig", OURS)
