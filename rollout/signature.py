"""Who has signed a plan: SSH signatures, as git has them, checked by the installed `ssh-keygen`.

`ssh-keygen -Y sign -f KEY -n rollout plan.json` writes `plan.json.sig`, and a file in the format
`allowed_signers` (ssh-keygen(1)) says whose key is whose. Nothing here knows any cryptography.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rollout.errors import DocumentError, RolloutError
from rollout.printable import one_line

NAMESPACE: Final = "rollout"  # a signature that was made for anything else counts for nothing
MOST_SIGNATURE: Final = 64 * 1024  # bytes
MOST_SIGNERS: Final = 16 * 1024 * 1024
_LIMIT_S = 60.0  # for one call; a plan of 100,000 nodes takes less than one second
_KEY = re.compile(rb"^Good .* key (\S+)\s*$", re.MULTILINE)
_SIGNERS, _SIGNATURE = "allowed_signers", "signature"  # files, as ssh-keygen's messages name them


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that was checked, and whose it is."""

    by: str  # the principal, as the allowed signers have it
    key: str  # its fingerprint
    signature: bytes

    def __str__(self) -> str:
        return f"{self.by} (key {self.key})"


def check(data: bytes, signature: bytes, signers: bytes, signer: str = "") -> Signed:
    """Prove that somebody who may has signed these bytes.

    Args:
        data: what must be signed.
        signature: as `ssh-keygen -Y sign` writes it.
        signers: who may: a file in the format `allowed_signers`.
        signer: the principal who must have signed; "": any of them.

    Raises:
        DocumentError: when it is no signature of these bytes, or of nobody who may.
        RolloutError: when `ssh-keygen` cannot be asked.
    """
    with _files(signature, signers) as directory:
        intact = _ask(directory, data, "check-novalidate", "-n", NAMESPACE)
        key = _KEY.search(intact.stdout)
        if intact.returncode or key is None:
            raise DocumentError(
                f"it is no signature of this plan in the namespace '{NAMESPACE}'{_said(intact)}; "
                "was the plan changed or made anew since?"
            )
        fingerprint = key[1].decode(errors="replace")
        return Signed(_whose(directory, data, fingerprint, signer), fingerprint, signature)


@contextmanager
def _files(signature: bytes, signers: bytes) -> Iterator[Path]:
    """Give `ssh-keygen`, which takes names of files, what was read once; nobody else writes it."""
    try:
        with tempfile.TemporaryDirectory(prefix="rollout-") as name:
            Path(name, _SIGNATURE).write_bytes(signature)
            Path(name, _SIGNERS).write_bytes(signers)
            yield Path(name)
    except OSError as error:
        raise RolloutError(
            f"the signature cannot be checked, for its copy cannot be written: {error}; make room "
            "there, or set TMPDIR"
        ) from None


def _whose(directory: Path, data: bytes, key: str, signer: str) -> str:
    """Return whose signature it is, of those who may sign."""
    found = _ask(directory, b"", "find-principals", "-f", _SIGNERS)
    named = [] if found.returncode else found.stdout.decode(errors="replace").splitlines()
    names = [name for name in named if not name.startswith("!")]  # of those whom a line leaves out
    if not names:
        raise DocumentError(f"the key {key} is of nobody who may sign{_said(found)}")
    said = ""
    for principal in [signer] if signer else names:
        words = ("-n", NAMESPACE, "-f", _SIGNERS, "-I", principal)
        checked = _ask(directory, data, "verify", *words)
        if not checked.returncode:
            return one_line(principal)
        said = _said(checked)
    owners = one_line(", ".join(names))
    if signer and signer not in names:
        raise DocumentError(f"it was signed by {owners} (key {key}), and not by {signer}{said}")
    raise DocumentError(f"the signature of {owners} (key {key}) does not count{said}")


def _ask(
    directory: Path, data: bytes, verb: str, *words: str
) -> subprocess.CompletedProcess[bytes]:
    arguments = ["ssh-keygen", "-Y", verb, "-s", _SIGNATURE, *words]
    try:
        return subprocess.run(  # noqa: S603 - a fixed program, and no shell
            arguments, input=data, capture_output=True, cwd=directory, timeout=_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RolloutError(f"ssh-keygen has not ended within {_LIMIT_S:.0f} s; try again") from None
    except OSError as error:
        raise RolloutError(
            f"signatures are checked by ssh-keygen, which cannot be started ({error.strerror}); "
            "install OpenSSH 8.2 or newer (Debian: apt-get install openssh-client)"
        ) from None


def _said(asked: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first thing that ssh-keygen complains of, for the end of a sentence."""
    lines = asked.stderr.decode(errors="replace").splitlines()
    return f" (ssh-keygen: {one_line(lines[0])[:200]})" if lines else ""
