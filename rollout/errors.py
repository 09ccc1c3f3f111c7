"""What can go wrong, grouped by what the caller can do about it, each with its exit code.

    RolloutError (1)
      UsageError (64)            call it otherwise
      DocumentError (65)         mend the spec or the plan
      ClusterError (1)           the cluster said no, or said nothing
        NotFound                   name something that exists
        NotServed                  install what serves that API group
        Forbidden (11)             ask for the permission
          Unauthenticated            log in again
        Conflict                   read again and decide again
        Rejected                   the server calls the request invalid
        Gone                       list again: the version is too old
        TransientError             try again later (carries the server's own delay)
          Unreachable
            NotRouted
          Throttled
        UnknownOutcome             a write without an answer: read before anything else
        Withheld                   our own guard kept a write back: nothing was sent
      StaleError (7)             plan again: the cluster is not what the plan saw
      LockedError (10)           wait for the other run
      JournalError (1)           make room for the journal, or name another place
      HeldError (3)              a failure stopped the run; look, then retry or roll back
      RolledBackError (4)        the run failed and the old revision is back
      RollbackIncompleteError (5)
      PausedError (6)            resume or approve
      DeadlineError (8)
      InconclusiveError (9)
      DeferredError (12)         complete, but not on every node

A message says what, where, and what to do next; it never holds a secret.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The contract with scripts and CI (README, "Exit codes")."""

    DONE = 0
    ERROR = 1
    CHANGES_PENDING = 2
    HELD = 3
    ROLLED_BACK = 4
    ROLLBACK_INCOMPLETE = 5
    PAUSED = 6
    STALE = 7
    DEADLINE = 8
    INCONCLUSIVE = 9
    LOCKED = 10
    NOT_AUTHORISED = 11
    DEFERRED = 12
    USAGE = 64
    BAD_DOCUMENT = 65
    INTERRUPTED = 130
    TERMINATED = 143


class RolloutError(Exception):
    """Anything that ends a command with a message instead of a traceback."""

    exit_code: ExitCode = ExitCode.ERROR


class UsageError(RolloutError):
    """The command was called in a way that makes no sense."""

    exit_code = ExitCode.USAGE


class DocumentError(RolloutError):
    """A spec, manifest or plan cannot be used; nothing was changed."""

    exit_code = ExitCode.BAD_DOCUMENT


class ClusterError(RolloutError):
    """The API server refused, or could not be asked."""


class NotFound(ClusterError):
    """The object, or the kind, does not exist (404)."""


class NotServed(ClusterError):
    """The cluster has no such API group, as its own list of groups says."""


class Forbidden(ClusterError):
    """The user may not do that, or is nobody (401, 403)."""

    exit_code = ExitCode.NOT_AUTHORISED


class Unauthenticated(Forbidden):
    """The server does not accept the credentials (401), renewed ones neither."""


class Conflict(ClusterError):
    """A precondition (UID or resourceVersion) did not hold (409)."""


class Rejected(ClusterError):
    """The server calls the request wrong (400, 405, 413, 415, 422): trying again won't help."""


class Gone(ClusterError):
    """The resource version is older than the server's history (410): list again."""


class TransientError(ClusterError):
    """Worth another try; `retry_after` is the server's own wish in seconds, or None."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(TransientError):
    """No answer, a broken one, or a server error (5xx): nothing is known."""


class NotRouted(Unreachable):
    """A 404 that is not the API server's own: of a proxy, or of a group that is not served."""


class Throttled(TransientError):
    """The server asks for patience (429)."""


class UnknownOutcome(ClusterError):
    """A write went out and no answer came back: it may or may not have been done."""


class Withheld(ClusterError):
    """Our own guard kept a write back; it was certainly not sent."""


class PausedError(RolloutError):
    """Somebody stopped the command before it was done; the same command goes on."""

    exit_code = ExitCode.PAUSED


class StaleError(RolloutError):
    """The cluster differs from what the plan was made for."""

    exit_code = ExitCode.STALE


class LockedError(RolloutError):
    """Another run, or another process of this one, works on the same DaemonSet.

    Args:
        message: who holds the lock, and what to do.
        by: id of the run that holds it; "": it is this one's own.
    """

    exit_code = ExitCode.LOCKED

    def __init__(self, message: str, by: str = "") -> None:
        super().__init__(message)
        self.by = by


class JournalError(RolloutError):
    """What is about to be done cannot be written down, so it is not done."""
