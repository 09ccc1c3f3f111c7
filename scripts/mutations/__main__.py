"""Runs every mutation in a copy of the tree: `scripts/mutate`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import cache_from_source
from pathlib import Path

from scripts.mutations.guard import Guard
from scripts.mutations.guards import GUARDS

PATIENCE_S = 300.0
ROOT = Path(__file__).parents[2]
TESTS_FAILED = 1  # pytest's exit code
_MADE = shutil.ignore_patterns("__pycache__")
_TRIED = shutil.ignore_patterns(".hypothesis")


def mutate(guard: Guard, tree: Path) -> None:
    """Take a guard away in a copy of the tree.

    Raises:
        ValueError: when it doesn't stand exactly once at each of its places.
    """
    for place in guard.places:
        file = tree / place.file
        source = file.read_text()
        found = source.count(place.old)
        if found != 1:
            raise ValueError(f"{guard.name}: stands {found} times in {place.file}, not once")
        file.write_text(source.replace(place.old, place.new))


def main(arguments: Sequence[str]) -> int:
    """Try the mutations; returns 1 when one survives."""
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=__doc__)
    parser.add_argument("guards", nargs="*", help="names of guards (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="copies at once")
    given = parser.parse_args(arguments)
    chosen = [g for g in GUARDS if not given.guards or g.name in given.guards]
    unknown = set(given.guards) - {guard.name for guard in GUARDS}
    if given.jobs < 1:
        parser.error(f"--jobs {given.jobs} is less than 1")
    if unknown:
        parser.error(f"no such guard: {', '.join(sorted(unknown))}")
    killers = sorted({killer for guard in chosen for killer in guard.killers})
    with tempfile.TemporaryDirectory(prefix="rollout-mutate-") as directory:
        clean = Path(directory) / "clean"
        _copy(clean)  # once: whoever edits the tree meanwhile changes nothing here
        with ThreadPoolExecutor(given.jobs) as pool:
            shares = [killers[turn :: given.jobs] for turn in range(given.jobs)]
            codes = list(pool.map(lambda share: _test(clean, share), filter(None, shares)))
            if any(codes):
                print(f"the killers fail without a mutation (pytest {codes}); nothing was tried")
                return 1
            verdicts = list(pool.map(lambda guard: _try(clean, guard), chosen))
    survivors = [guard.name for guard, killed in zip(chosen, verdicts, strict=True) if not killed]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants were killed")
    if survivors:
        print(f"survivors: {', '.join(survivors)}")
    return 1 if survivors else 0


def _try(clean: Path, guard: Guard) -> bool:
    tree = clean.with_name(guard.name)
    shutil.copytree(
        clean, tree, ignore=_TRIED
    )  # with what is compiled: that is most of a short test's time
    mutate(guard, tree)
    for place in guard.places:
        Path(cache_from_source(str(tree / place.file))).unlink(missing_ok=True)
    killed = all(_test(tree, [killer]) == TESTS_FAILED for killer in guard.killers)
    shutil.rmtree(tree)
    print(f"{'killed  ' if killed else 'SURVIVED'}  {guard.name}: {guard.why}", flush=True)
    return killed


def _copy(tree: Path) -> None:
    for name in ("rollout", "tests", "scripts", "plans"):
        shutil.copytree(ROOT / name, tree / name, ignore=_MADE)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree / name)


def _test(tree: Path, killers: Sequence[str]) -> int:
    """Run tests in a tree; returns pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *killers]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(  # noqa: S603 - our own tests
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:  # it waits for what never comes: it has noticed
        return TESTS_FAILED
    if done.returncode < 0:  # a signal has ended the interpreter: that is noticed as well
        return TESTS_FAILED
    if done.returncode not in (0, TESTS_FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
