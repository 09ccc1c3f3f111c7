"""What a run writes into its journal: every intent before it is carried out, and what came of it.

A journal that fails stops the run's writes and nothing else: the nodes in flight are still
watched, and the run holds. So nothing here raises when the journal fails; it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from rollout.errors import DocumentError, JournalError
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import (
    Action,
    DeletePod,
    Finish,
    Prepare,
    ReadDaemonSet,
    ReadPod,
    Reassert,
    ReleasePod,
    Restore,
    TakeBack,
)
from rollout.executor.engine.notices import Notice
from rollout.executor.record.journalheads import JournalHead, compared
from rollout.executor.record.record import RunRecord, encode_record
from rollout.journal.chain import Reading
from rollout.journal.file import (
    Journal,
    hash_at,
    no_journal,
    open_journal,
    owner,
    read_journal,
    torn_text,
)
from rollout.journal.place import Place, series, successor

WRITES = (Prepare, Restore, Reassert, DeletePod, ReleasePod, TakeBack)
_VERBS: dict[type[Action], str] = {
    Prepare: "prepare",
    Restore: "restore",
    Reassert: "reassert",
    DeletePod: "delete",
    ReleasePod: "release",
    TakeBack: "take back",
}
# What is seen of the cluster is in the cluster; the rest of what the engine hears is written down.
_SEEN = (
    *(ev.PodsListed, ev.PodSeen, ev.PodGone),
    *(ev.ReleasedListed, ev.ReleasedSeen, ev.ReleasedGone),
    *(ev.NodesListed, ev.NodeSeen, ev.NodeGone),
    *(ev.DaemonSetSeen, ev.DaemonSetGone, ev.RevisionsSeen),
    *(ev.OtherSeen, ev.OtherLooked, ev.RecordTold),
)


class RunLog:
    """The journal of one run, in the words of a run.

    Args:
        journal: open for writing.
        found: what was found at its place that people should know; "" where nothing was.
    """

    def __init__(self, journal: Journal, found: str = "") -> None:
        self._journal = journal
        self.found = found
        self._said: ev.Said | None = None  # what others want, as written down last

    @property
    def path(self) -> Path | None:
        """The file, or None when nothing is kept."""
        return self._journal.path

    @property
    def failed(self) -> str:
        """Why nothing may be written to the cluster any more; "" while all is well."""
        return self._journal.failed

    @property
    def head(self) -> JournalHead | None:
        """Where the journal stands on the disk, or None when nothing is kept."""
        kept = self._journal.kept
        return JournalHead(self._journal.first, kept.seq, kept.hash) if kept.seq else None

    def intend(self, actions: Sequence[Action]) -> bool:
        """Write down what is about to be written; returns whether it is on the disk.

        One fsync for all actions of a round, so that the disk does not set the pace.
        """
        writes = [action for action in actions if isinstance(action, WRITES)]
        for action in writes:
            self._append("intent", **_action(action))
        return not writes or self._synced()

    def intend_job(self, verb: str, gate: str, job: str) -> bool:
        """Write down what a gate is about to do with its Job; returns whether it is on the disk."""
        self._append("intent", action=verb, gate=gate, job=job)
        return self._synced()

    def conclude(self, **fields: Any) -> bool:  # noqa: ANN401 - any JSON value
        """Write down how the run ends; returns whether it is on the disk."""
        self._append("end", **fields)
        return self._synced()

    def intend_record(self, record: RunRecord) -> None:
        """Write down how the run record is about to be.

        Raises:
            JournalError: when that is not on the disk.
        """
        self._journal.append("record", phase=record.phase, record=encode_record(record))
        self._journal.sync()

    def intend_message(self, message: str) -> bool:
        """Write down what the record is about to say; returns whether it is on the disk."""
        self._append("record", message=message)
        return self._synced()

    def heard(self, event: ev.Event) -> None:
        """Write down what the engine hears, other than what it sees of the cluster."""
        match event:
            case ev.Answered(ReadPod() | ReadDaemonSet() | Finish()):
                return
            case ev.Answered(action, answer, message):
                self._append("outcome", **_action(action), answer=answer.value, message=message)
            case ev.Said() if event == self._said:
                return  # the record was written for another reason
            case _ if not isinstance(event, _SEEN):
                self._said = event if isinstance(event, ev.Said) else self._said
                fields = msgspec.to_builtins(event, order="sorted", enc_hook=str)
                self._append(_words(type(event).__name__), **fields)

    def told(self, notice: Notice, number: int) -> None:
        """Write down what is about to be told, with its number in the event stream."""
        self._append(
            "notice",
            event=number,
            notice=notice.kind,
            daemonSet=notice.daemon_set,
            node=notice.node,
            wave=notice.wave or None,
            message=notice.message,
        )

    def note(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Write down anything else."""
        self._append(kind, **fields)

    def close(self) -> None:
        """Bring all to the disk, as far as that goes, and close the file."""
        self._synced()
        self._journal.close()

    def _append(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        if not self._journal.failed:
            try:
                self._journal.append(kind, **fields)
            except JournalError:
                return  # `failed` says so

    def _synced(self) -> bool:
        try:
            self._journal.sync()
        except JournalError:
            return False
        return True


def open_log(
    place: Place,
    record: RunRecord,
    namespace: str,
    cluster_uid: str,
    *,
    resumed: bool,
    recover: bool,
) -> RunLog:
    """Open the journal of a run, or begin it.

    Args:
        place: where the user wants it.
        record: of the run.
        namespace: of the record.
        cluster_uid: of the cluster.
        resumed: an earlier process has begun the run, maybe on another machine.
        recover: a journal that cannot be written on is left, and another one begun.

    Raises:
        JournalError: when it cannot be written.
        DocumentError: when it cannot be written on.
        LockedError: when another process writes it.
    """
    path = journal_file(place, cluster_uid, f"{namespace}.{record.name}", record.run_id)
    if path is None:
        return RunLog(no_journal())
    about: dict[str, Any] = {"plan": record.plan_id, "digest": record.plan_digest}
    about |= {"cluster": cluster_uid, "rollout": f"{namespace}/{record.name}"}
    if resumed:
        about["continues"] = {"run": record.run_id, "event": record.sequence}

    def missing(reading: Reading) -> str:
        said = compared(reading, record.journals, lambda seq: hash_at(path, seq))
        return said.text if said.wrong else ""

    try:
        opened = open_journal(path, record.run_id, missing, **about)
    except DocumentError as error:
        if not recover:
            raise
        after = successor(series(path)[-1])
        journal = open_journal(after, record.run_id, **about, recovers=str(path)).journal
        return RunLog(journal, f"{error}: doing so, with {after}")
    torn = torn_text(opened.before) if opened.before and opened.before.torn else ""
    return RunLog(opened.journal, f"journal {path}: {torn}" if torn else "")


def told_before(place: Place, record: RunRecord, namespace: str, cluster_uid: str) -> int:
    """Return the number of the last event that an earlier process of a run has told.

    The record says it as of the last orderly end; a process that was killed has told more, and
    the journal, where it is on this machine, says how much.
    """
    path = journal_file(place, cluster_uid, f"{namespace}.{record.name}", record.run_id)
    if path is None or not path.is_file():
        return record.sequence
    return max(record.sequence, read_journal(path).told)


def journal_file(place: Place, cluster_uid: str, rollout: str, run_id: str) -> Path | None:
    """Return a run's journal, or where it is to begin; a journal of another run is passed over.

    One that does not say whose it is may be ours, and broken.

    Args:
        place: where the user wants it.
        cluster_uid: of the cluster.
        rollout: namespace and name, `logging.log-agent-2.4`.
        run_id: id of the run.

    Returns:
        None where there shall be none.
    """
    path = place.of(cluster_uid, rollout, run_id)
    if path is None:
        return None
    there = series(path)
    mine = [one for one in there if owner(one) in ("", run_id)]
    if mine or not there:
        return mine[-1] if mine else path
    return successor(there[-1])


def _action(action: Action) -> dict[str, Any]:
    fields: dict[str, Any] = {"action": _VERBS[type(action)]}
    match action:
        case Prepare(name) | Restore(name) | Reassert(name):
            fields["daemonSet"] = name
        case DeletePod(name, node, pod, uid) | ReleasePod(name, node, pod, uid):
            fields |= {"daemonSet": name, "node": node, "pod": pod, "uid": uid}
        case TakeBack(name, node, pod, uid):
            fields |= {"daemonSet": name, "node": node, "pod": pod, "uid": uid}
    return fields


def _words(name: str) -> str:
    """Return the name of an event as the kind of a line: `StopAsked` is `stop-asked`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
