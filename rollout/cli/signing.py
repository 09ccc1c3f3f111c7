"""Whose signature a plan needs before it is carried forward: the options, and where it is read.

Ways to safety need none: `pause`, `abort`, `reject`, `rollback` and `undo` do not know of it.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from rollout.cli.gathering import gathered
from rollout.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from rollout.cli.speaking import Hearing
    from rollout.planner.plan import Plan
    from rollout.signature import Signed


VARIABLE: Final = "ROLLOUT_ALLOWED_SIGNERS"
_NO_SIGNERS: Final = (
    "no file of allowed signers; name one whose lines are 'IDENTITY KEYTYPE KEY', the last two "
    "from the signer's .pub file (ssh-keygen(1), ALLOWED SIGNERS)"
)


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may have signed a plan, and where its signature is."""

    allowed: Path | None
    signer: str
    signature: Path | None

    def __post_init__(self) -> None:
        """Refuse what would look like a check and be none.

        Raises:
            UsageError: a signer or a signature is named, and nobody may sign.
        """
        if self.allowed is None and (self.signer or self.signature is not None):
            raise UsageError(
                "--signer and --signature go with --allowed-signers FILE (or "
                "ROLLOUT_ALLOWED_SIGNERS), which says whose key is whose"
            )

    @property
    def required(self) -> bool:
        """Whether a plan needs a signature."""
        return self.allowed is not None

    def refuse_spec(self, spec: Path) -> None:
        """Refuse to plan and carry out in one go where a signature is needed.

        Raises:
            DocumentError: a signature is needed.
        """
        if self.required:
            raise DocumentError(
                f"{spec}: a plan that is made now is signed by nobody, and --allowed-signers "
                f"{self.allowed} wants a signature; save it with 'rollout plan -f {spec} --out "
                f"PLAN', have it signed with '{_how('PLAN')}', and apply PLAN"
            )

    def of_file(self, plan: Plan, path: Path) -> Signed | None:
        """Check the signature of a saved plan; None where it needs none.

        Args:
            plan: what was read from the file.
            path: the file.

        Raises:
            DocumentError: when it is not signed by somebody who may.
            RolloutError: when `ssh-keygen` cannot be asked.
        """
        if self.allowed is None:
            return None
        if self.signature is None and str(path) == "-":
            raise UsageError("a plan from standard input has no file beside it: give --signature")
        found = self.signature or Path(f"{path}.sig")
        return self._check(plan, _read_signature(found, path, plan), str(found), str(path))

    def of_run(self, run: Hearing, plan: Plan, path: Path | None) -> Signed | None:
        """Check the signature of a run's own plan; None where it needs none.

        Args:
            run: the run.
            plan: its plan.
            path: the file that it was read from; None: it is kept in the cluster.

        Raises:
            DocumentError: when it is not signed by somebody who may.
            ClusterError: when the cluster cannot be read.
            RolloutError: when `ssh-keygen` cannot be asked.
        """
        if self.allowed is None:
            return None
        if path is not None or self.signature is not None:
            return self.of_file(plan, path or Path("PLAN"))
        from rollout.executor.record.planstore import read_kept_signature, store_name

        where = f"ConfigMap {run.client.namespace}/{store_name(run.record.name)}"
        kept = read_kept_signature(run.client, run.client.namespace, run.record.name)
        if kept is None:
            raise DocumentError(
                f"{where}: plan {plan.id} was begun where no signature was checked, so none is "
                f"kept beside it; have it signed with '{_how('PLAN')}' and give --signature "
                f"PLAN.sig, or go back: 'rollout rollback {run.record.name} -n "
                f"{run.client.namespace}' needs no signature"
            )
        return self._check(plan, kept, where, "PLAN")

    def _check(self, plan: Plan, signature: bytes, where: str, path: str) -> Signed:
        from rollout.planner.plan import encode
        from rollout.signature import MOST_SIGNERS, check

        assert self.allowed is not None
        signers = _read(self.allowed, MOST_SIGNERS, _NO_SIGNERS)
        try:  # `decode` has proved that these are the very bytes of the file
            return check(encode(plan), signature, signers, self.signer)
        except DocumentError as error:
            raise DocumentError(
                f"{where}: {error}; whoever {self.allowed} allows may sign it: '{_how(path)}'"
            ) from None


def _not_empty(_ctx: click.Context, _param: click.Parameter, allowed: Path | None) -> Path | None:
    """Refuse a variable that is there and names no file: a check would seem to be switched on."""
    if allowed is None and os.environ.get(VARIABLE) == "":
        raise UsageError(
            f"{VARIABLE} is set and names no file; name the file of allowed signers, or unset it "
            "where plans need no signature"
        )
    return allowed


signers_options = gathered(
    "signers",
    Signers,
    click.option(
        "--allowed-signers",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar=VARIABLE,
        callback=_not_empty,
        help="Take only a plan that one of these has signed, see ssh-keygen(1) (default: "
        "ROLLOUT_ALLOWED_SIGNERS).",
    ),
    click.option("--signer", metavar="IDENTITY", default="", help="Who of them must have signed."),
    click.option(
        "--signature",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The signature (default: PLAN.sig; where no PLAN is given, but a run, the one that "
        "is kept beside its plan).",
    ),
)


def _read_signature(path: Path, file: Path, plan: Plan) -> bytes:
    from rollout.signature import MOST_SIGNATURE

    run = f"'rollout resume {shlex.quote(plan.name)} -n {shlex.quote(plan.namespace)}'"
    cure = f"sign it with '{_how(str(file))}'; a run of it goes on with what is kept beside it: "
    return _read(path, MOST_SIGNATURE, f"no signature of the plan; {cure}{run}")


def _read(path: Path, most: int, missing: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise DocumentError(f"{path}: there is {missing}") from None
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise DocumentError(f"{path}: larger than {most:,} bytes; is it the right file?")
    return data


def carried_out_by(plan: Path) -> str:
    """Return how a saved plan is carried out, as half a sentence: signed first, where that is set.

    Args:
        plan: the file.
    """
    name = shlex.quote(str(plan))
    if os.environ.get(VARIABLE):
        return (
            f"{VARIABLE} is set, so it is to be signed first: '{_how(str(plan))}'; then "
            f"'rollout apply {name}' carries it out"
        )
    return f"'rollout apply {name}' carries it out"


def _how(path: str) -> str:
    return f"ssh-keygen -Y sign -f KEY -n rollout {shlex.quote(path)}"
