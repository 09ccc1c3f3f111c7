"""Settings that hold for every test, and what is worth starting only once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from rollout.executor.engine.engine import Engine
from tests.e2e import warm
from tests.gates import prometheus
from tests.gates.prometheus import Prometheus

# Machines that test are busy: how long one example takes says nothing.
settings.register_profile("rollout", deadline=None, print_blob=True)
settings.load_profile("rollout")

# celpy sets it at its first use; in the middle of an example, hypothesis would warn of the change.
sys.setrecursionlimit(2500)

# Whom tests ask is on this machine, or nowhere: no proxy knows them.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

# The safety rules are asserted in every test, in the commands that tests start as well.
Engine.checked = True
os.environ["ROLLOUT_ASSERTIONS"] = "1"


@pytest.fixture(scope="session")
def _prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if not prometheus.installed():
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    with prometheus.running(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture
def real_prometheus(_prometheus: Prometheus) -> Iterator[Prometheus]:
    """Lend a real Prometheus server whose exporter says that all is well, and has been heard."""
    yield _prometheus
    if _prometheus.exporter.reset():
        _prometheus.scraped()


@pytest.fixture(scope="session", autouse=True)
def _journals_of_tests_lie_with_the_tests(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Whatever runs without a place of its own for its journal leaves nothing in the home."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _the_host_of_commands_ends_with_the_tests() -> Iterator[None]:
    yield
    warm.end_host()
