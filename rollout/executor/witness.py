"""The cluster as a witness: what its run records say about journals on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid
from rollout.errors import RolloutError
from rollout.executor.record.history import PastRun
from rollout.executor.record.journalheads import Testimony, compared
from rollout.executor.record.record import RunRecord
from rollout.executor.runs import FoundRecord, read_records
from rollout.journal.chain import Reading
from rollout.journal.file import hash_at


class Witness:
    """Asks the cluster once for each namespace; what it can't say is said, and no error.

    Args:
        connect: returns a client of the cluster.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._uid = ""
        self._why = ""  # it cannot be asked
        self._records: dict[str, list[FoundRecord]] = {}

    def close(self) -> None:
        """Ask no more."""
        if self._client is not None:
            self._client.close()

    def about(self, path: Path, reading: Reading) -> Testimony:
        """Return what the cluster says about a journal whose chain holds."""
        if not reading.first:
            return _silent("it does not even say whose it is")
        namespace, _, rollout = str(reading.first.get("rollout", "")).partition("/")
        try:
            if not self._is_of(str(reading.first.get("cluster", ""))):
                return _silent("it is of another cluster than the current context's")
            known = self._known(namespace, rollout, str(reading.first.get("run", "")))
        except RolloutError as error:
            self._why = str(error)
            return _silent(self._why)
        if known is None:
            return _silent("the cluster knows nothing of its run any more")
        said = compared(reading, known.journals, lambda seq: hash_at(path, seq))
        return replace(said, phase=known.phase)

    def _is_of(self, uid: str) -> bool:
        if self._why:
            raise RolloutError(self._why)
        if self._client is None:
            self._client = self._connect()
            self._uid = read_cluster_uid(self._client)
        return uid == self._uid

    def _known(self, namespace: str, rollout: str, run_id: str) -> RunRecord | PastRun | None:
        assert self._client is not None
        if namespace not in self._records:
            self._records[namespace] = read_records(self._client, namespace)
        for found in self._records[namespace]:
            if found.name != rollout:
                continue
            if found.record is not None and found.record.run_id == run_id:
                return found.record
            for run in found.history:
                if run.run_id == run_id:
                    return run
        return None


def _silent(why: str) -> Testimony:
    return Testimony(f"nothing proves that no line is missing at its end: {why}")
