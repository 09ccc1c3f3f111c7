"""Everything that `apply` will need is asked for before it does the first of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.errors import Forbidden
from rollout.executor.precheck import needed_permissions, require_permissions, run_checks
from rollout.sim.fleetfile import Rule, User
from tests.e2e.world import fleet
from tests.executor.runworld import run_world

READ = Rule(("get", "list", "watch"), ("*",), ("*",))
READER = User("reader", "reader-token", rules=(READ,))


def test_each_missing_verb_is_named_once_and_nothing_is_written(tmp_path: Path) -> None:
    with run_world(tmp_path, described=fleet(2, users=(READER,))) as world:
        plan = world.planned()
        reader = world.client(READER.token)
        with pytest.raises(Forbidden) as refused:
            require_permissions(reader, plan)
        named = str(refused.value).partition("not allowed: ")[2].partition(";")[0].split(", ")
        wanted = needed_permissions(plan)
        missing = [str(p) for p in wanted if p.verb not in READ.verbs]
        assert named == missing
        assert {name.partition(" ")[0] for name in named} == {"create", "update", "patch", "delete"}
        assert not world.writes()
        asked = [e for e in world.entries() if "selfsubjectaccessreviews" in e.path]
        assert len(asked) == len(wanted), "each is asked by itself, and once"


def test_the_checks_keep_the_order_of_the_questions(tmp_path: Path) -> None:
    with run_world(tmp_path, described=fleet(2, users=(READER,))) as world:
        plan = world.planned()
        checks = run_checks(world.client(READER.token), plan)
    shown = [(c.what, c.verdict) for c in checks if c.kind == "permission"]
    wanted = [
        (str(p), "ok" if p.verb in READ.verbs else "failed") for p in needed_permissions(plan)
    ]
    assert shown == wanted
