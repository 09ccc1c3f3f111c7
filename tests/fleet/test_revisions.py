from __future__ import annotations

import pytest

from rollout.fleet.revisions import (
    canonical_json,
    current_revision,
    is_up_to_date,
    owned_revisions,
    previous_revision,
    revision_hash,
    template_digest,
)
from tests.fleet.builders import make_daemon_set, make_revision, template


def labels(hash_: str = "", generation: str = "") -> dict[str, str]:
    both = {"controller-revision-hash": hash_, "pod-template-generation": generation}
    return {key: value for key, value in both.items() if value}


@pytest.mark.parametrize(
    ("pod", "hash_", "generation", "expected"),
    [
        pytest.param(labels("h2", "2"), "h2", "2", True, id="both say so"),
        pytest.param(labels("h2", "1"), "h2", "2", True, id="the hash alone is enough"),
        pytest.param(labels("h1", "2"), "h2", "2", True, id="the generation alone is enough (V41)"),
        pytest.param(labels("h1", "1"), "h2", "2", False, id="neither"),
        pytest.param(labels("", "1"), "h2", "2", False, id="hash label removed (V36)"),
        pytest.param(labels("", "2"), "h2", "2", True, id="no hash, right generation"),
        pytest.param(labels("h2", ""), "h2", "2", True, id="no generation label"),
        pytest.param({}, "", None, False, id="nothing is known"),
        pytest.param(labels("", "1"), "", None, False, id="generation rule is off"),
        pytest.param({"controller-revision-hash": ""}, "", None, False, id="an empty hash is none"),
        pytest.param(labels("h1", "1"), "h2", "1", True, id="orphaned and recreated (V10)"),
    ],
)
def test_a_pod_is_up_to_date_by_its_hash_or_its_generation(
    pod: dict[str, str], hash_: str, generation: str | None, *, expected: bool
) -> None:
    assert is_up_to_date(pod, hash_, generation) is expected


def test_only_revisions_of_this_very_owner_count_whatever_their_name() -> None:
    mine, older = make_revision(7, "b"), make_revision(2, "a")
    foreign = make_revision(9, "c", uid="another-uid")
    owned = owned_revisions(make_daemon_set(), [mine, foreign, older])
    assert [r.revision for r in owned] == [2, 7]
    current = current_revision(owned)
    assert current is not None
    assert revision_hash(current) == "b"


def test_before_the_first_sync_there_is_no_current_revision() -> None:
    assert current_revision(()) is None


def test_undo_goes_to_the_newest_revision_with_another_template() -> None:
    owned = (
        make_revision(1, "a", template("v1")),
        make_revision(3, "b", template("v2")),
        make_revision(4, "c", template("v3")),
    )
    previous = previous_revision(owned, template("v3"))
    assert previous is not None
    assert previous.revision == 3
    assert previous_revision(owned[2:], template("v3")) is None


def test_a_revision_gives_its_template_without_the_patch_directive() -> None:
    assert make_revision(1, "a", template("v1")).template == template("v1")


@pytest.mark.parametrize(
    "same",
    [
        template() | {"$patch": "replace"},
        {"spec": template()["spec"], "metadata": template()["metadata"]},
        template() | {"metadata": {"labels": {"app": "agent"}, "creationTimestamp": None}},
    ],
)
def test_a_digest_ignores_what_only_serialisations_differ_in(same: dict[str, object]) -> None:
    assert template_digest(same) == template_digest(template())


@pytest.mark.parametrize(
    "other",
    [
        template("agent:2"),
        template() | {"metadata": {"labels": {"app": "agent"}, "annotations": {"a": "b"}}},
        template() | {"metadata": {"labels": {"app": "agent"}, "creationTimestamp": "2026"}},
        {"metadata": template()["metadata"]},
    ],
)
def test_a_digest_tells_templates_apart(other: dict[str, object]) -> None:
    assert template_digest(other) != template_digest(template())


def test_canonical_json_has_sorted_keys_and_no_spaces() -> None:
    assert canonical_json({"b": [1, {"d": None, "c": "\u00e4"}], "a": 1.5}) == (
        '{"a":1.5,"b":[1,{"c":"\u00e4","d":null}]}'.encode()
    )
