"""Which Kubernetes the server is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout.cluster.client import Client
from rollout.cluster.release import check_release, read_release
from rollout.errors import ClusterError, StaleError
from tests.cluster.world import Reply, serve, talking_to


@contextmanager
def server_of(version: str, directory: Path) -> Iterator[Client]:
    major, minor, *_ = version.removeprefix("v").split(".")
    body = {"major": major, "minor": f"{minor}+", "gitVersion": version}
    with serve(lambda _: Reply(body)) as world, talking_to(world.url, directory) as client:
        yield client


@pytest.mark.parametrize("version", ["v1.25.0", "v1.36.1", "v1.36.1-gke.100", "v2.0.0"])
def test_a_release_that_knows_all_that_is_needed_is_taken(version: str, tmp_path: Path) -> None:
    with server_of(version, tmp_path) as client:
        assert read_release(client) == version


@pytest.mark.parametrize("version", ["v1.24.17", "v1.9.0", "v0.0.0"])
def test_a_release_that_is_too_old_is_refused_by_name(version: str, tmp_path: Path) -> None:
    with (
        server_of(version, tmp_path) as client,
        pytest.raises(ClusterError, match=rf"runs Kubernetes {version}; rollout needs 1.25"),
    ):
        read_release(client)


def test_a_plan_holds_over_patch_releases_of_the_cluster(tmp_path: Path) -> None:
    with server_of("v1.36.4", tmp_path) as client:
        check_release(client, "v1.36.1")


@pytest.mark.parametrize("planned", ["v1.35.9", "v1.37.0", "something"])
def test_a_plan_does_not_hold_over_minor_releases(planned: str, tmp_path: Path) -> None:
    with (
        server_of("v1.36.4", tmp_path) as client,
        pytest.raises(StaleError, match=rf"made on Kubernetes {planned}, .* v1.36.4 now"),
    ):
        check_release(client, planned)
