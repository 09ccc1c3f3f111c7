"""Holds a story against the same one in which nothing goes wrong."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from rollout.errors import ExitCode
from tests.simulation.playing import Played, play
from tests.simulation.scenarios import Scenario, hangs, lies

# Restarts of ours, and what people may say at any time, change nothing of the end: the calm story
# has none of it. What people do to pods and nodes it has as well; then only the deletes may differ.
_UNSAID = frozenset(["kill", "interrupt", "pause", "second-apply"])
_DEEDS = frozenset(["cordon", "delete-pod", "delete-pods", "reboot", "join", "unlock"])


def check(scenario: Scenario) -> Played:
    """Play a story with and without what goes wrong, and compare the ends.

    Raises:
        AssertionError: a rule was broken, or something made a difference.
    """
    played = play(scenario)
    deeds = tuple(one for one in scenario.operators if one.kind not in _UNSAID)
    good = not scenario.release or scenario.repair == "heal"
    known = all(one.kind in _DEEDS for one in deeds)
    calm = replace(scenario, faults=(), operators=deeds)
    if calm != scenario and good and known and not scenario.turns:
        _compare(scenario, played, play(calm))
    return played


def _compare(scenario: Scenario, played: Played, ideal: Played) -> None:
    """Hold a story against the same one in which nothing goes wrong."""
    back = ExitCode.ROLLED_BACK
    if (played.codes[-1] == back) != (ideal.codes[-1] == back):
        return
    # Whether a pod that comes and goes is ready at the end is of the moment; and so is whether one
    # that is well at first, or its node, was found to be bad before the run was over, and mended.
    kinds = str(tuple(scenario.release.values()))
    unsteady = any(kind in kinds for kind in ("flap", "exits", "kills-node", "after"))
    alike = _but_readiness if unsteady else dict[str, Any]
    stays = _but_what_hangs if hangs(scenario) else dict[str, Any]
    found, wanted = alike(stays(played.objects)), alike(stays(ideal.objects))
    assert found == wanted, _difference(played, ideal)
    # L1: a node that a list had lacked is reported as gone, and the controller does the rest.
    overlooked = lies(scenario) and '"result":"gone"' in played.story
    hands_off = all(one.kind not in _DEEDS - {"cordon"} for one in scenario.operators)
    if hands_off and not scenario.release and not overlooked:
        assert played.deletes == ideal.deletes, f"{played.deletes}\n{ideal.deletes}"


def _but_what_hangs(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the objects without pods that are being ended, which people may end by force."""
    kept = {
        key: [one for one in value if not one[2]] if key.startswith("pod/") else value
        for key, value in objects.items()
    }
    return {key: value for key, value in kept.items() if value}


def _but_readiness(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the objects without what is of the moment.

    On a node that was down before, the built-in controller replaces what it finds when it comes to
    its turn, and whether it did depends on when the strategy was restored.
    """
    return {
        key: [(image, going and "dead-" not in key) for image, _, going in value]
        if key.startswith("pod/")
        else value
        for key, value in objects.items()
    }


def _difference(played: Played, ideal: Played) -> str:
    keys = sorted({*played.objects, *ideal.objects})
    lines = [
        f"{key}: {played.objects.get(key)} instead of {ideal.objects.get(key)}"
        for key in keys
        if played.objects.get(key) != ideal.objects.get(key)
    ]
    return "\n".join([*lines, str(played.codes), str(ideal.codes), played.story])
