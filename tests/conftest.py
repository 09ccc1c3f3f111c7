"""Settings that hold for every test, and what is worth starting only once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.gates import prometheus
from tests.gates.prometheus import Prometheus

# Machines that test are busy: how long one example takes says nothing.
settings.register_profile("rollout", deadline=None, print_blob=True)
settings.load_profile("rollout")


@pytest.fixture(scope="session")
def _prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if not prometheus.installed():
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    with prometheus.running(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture
def real_prometheus(_prometheus: Prometheus) -> Iterator[Prometheus]:
    """Lend a real Prometheus server whose exporter says that all is well."""
    yield _prometheus
    _prometheus.exporter.reset()
