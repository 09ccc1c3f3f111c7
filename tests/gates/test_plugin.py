"""A plugin as users install it: a distribution with an entry point, found on sys.path."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gates.permissions import refusals
from rollout.gates.settings import Settings
from tests.gates.worlds import a_context, a_gate

SOURCE = '''
"""A gate that looks at the depth of a queue."""

import threading

released = threading.Event()


def measure(settings, document, secret):
    match settings.get("say"):
        case "raise":
            raise RuntimeError(f"no queue for {secret}")
        case "nothing":
            return None
        case "hang":
            released.wait(60)
            return {"result": 0}
        case None:
            return {"result": settings["depth"], "reason": f"queue of {document['wave']['name']}"}
        case word:
            settings["say"] = "changed"
            return {"outcome": word, "value": 7, "reason": "so it says"}
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install the distribution `rollout-queue` with the plugin `queue-depth`."""
    (tmp_path / "rollout_queue.py").write_text(SOURCE)
    information = tmp_path / "rollout_queue-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: rollout-queue\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(
        "[rollout.gates]\nqueue-depth = rollout_queue:measure\n"
    )
    (information / "RECORD").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rollout_queue", raising=False)
    yield
    released: threading.Event | None = getattr(
        sys.modules.pop("rollout_queue", None), "released", None
    )
    if released is not None:
        released.set()


def asked(settings: dict[str, Any], **fields: Any) -> Measurement:
    gate = a_gate("plugin", plugin="queue-depth", settings=settings, **fields)
    return measure(gate, a_context())


@pytest.mark.usefixtures("installed")
def test_a_plugins_value_is_judged_by_the_conditions() -> None:
    good = asked({"depth": 3}, successCondition="result < 5")
    assert (good.outcome, good.value, good.reason) == (Outcome.PASSED, "3", "queue of canary")
    assert asked({"depth": 9}, successCondition="result < 5").outcome is Outcome.FAILED
    assert asked({"depth": 9}).outcome is Outcome.INCONCLUSIVE  # nobody says what is good


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "outcome",
    [Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.NO_DATA, Outcome.WAITING],
)
def test_a_plugin_may_decide_itself(outcome: Outcome) -> None:
    settings = {"say": outcome.value}
    found = asked(settings)
    assert (found.outcome, found.value, found.reason) == (outcome, "7", "so it says")
    assert settings == {"say": outcome.value}  # it got a copy


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("say", "reason"),
    [
        ("raise", "the gate broke: RuntimeError: no queue for ***"),
        ("nothing", "plugin queue-depth returned no mapping"),
        ("yes", "plugin queue-depth returned neither a result nor an outcome"),
        ("error", "plugin queue-depth returned neither a result nor an outcome"),
    ],
)
def test_a_plugin_that_breaks_or_says_something_else_is_an_error(
    say: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    found = asked({"say": say}, secretRef={"env": "KEY"})
    assert (found.outcome, found.reason) == (Outcome.ERROR, reason)


@pytest.mark.usefixtures("installed")
def test_a_plugin_that_hangs_costs_its_time_limit() -> None:
    found = asked({"say": "hang"}, timeout="200ms")
    assert found.outcome is Outcome.ERROR
    assert "the plugin did not answer within" in found.reason


@pytest.mark.usefixtures("installed")
def test_an_installed_plugin_is_known_before_anything_runs() -> None:
    assert not refusals([a_gate("plugin", plugin="queue-depth")], Settings())
    (said,) = refusals([a_gate("plugin", plugin="other")], Settings())
    assert said == "gate g: plugin other is not installed; installed are: queue-depth"
