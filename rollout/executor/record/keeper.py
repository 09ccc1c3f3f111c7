"""Keeps the run record in its ConfigMap: compare-and-swap, and never over somebody else's run."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

from rollout.cluster.client import Client
from rollout.cluster.fleet import CORE
from rollout.cluster.paths import resource_path
from rollout.cluster.sending import Guard
from rollout.errors import Conflict, StaleError, UnknownOutcome
from rollout.executor.record.history import (
    HISTORY_KEY,
    decode_history,
    encode_history,
    past_run,
    with_run,
)
from rollout.executor.record.record import (
    AT_WORK,
    AT_WORK_LABEL,
    DATA_KEY,
    ConfigMap,
    RunRecord,
    WholeConfigMap,
    decode_record,
    encode_record,
    record_name,
)
from rollout.fleet.marks import MANAGED_BY
from rollout.fleet.objects import JsonObject, Meta

_ATTEMPTS = 5  # at a compare-and-swap that others get in between


class Keeper:
    """The record of one rollout, as the cluster has it.

    Args:
        client: of the cluster.
        namespace: where the record lives.
        plan_name: name of the rollout.
    """

    def __init__(self, client: Client, namespace: str, plan_name: str) -> None:
        self._client = client
        self.namespace = namespace
        self._name = record_name(plan_name)
        self._there: WholeConfigMap | None = None  # what others wrote into it stays
        self._turn = threading.RLock()  # the run's loop and its scribe both write
        self.found: RunRecord | None = None  # what an earlier run left

    def guarded(self, guard: Guard) -> Keeper:
        """Return a keeper that goes on from here, and whose every write asks the guard first."""
        keeper = copy.copy(self)
        keeper._client = self._client.guarded(guard)  # noqa: SLF001 - of the same class
        return keeper

    def read(self) -> RunRecord | None:
        """Return the record that is there.

        Raises:
            StaleError: when the ConfigMap holds something else.
        """
        self._there = self._client.get_or_none(self._path(), WholeConfigMap)
        self.found = decode_record(self._config_map()) if self._there is not None else None
        return self.found

    def write(self, record: RunRecord) -> None:
        """Write the record over exactly the version that was read or written last.

        Raises:
            StaleError: when somebody else has written it meanwhile.
            ClusterError: when it cannot be written.
        """
        before = self.found
        for tries_left in (1, 0):
            try:
                stored = self._send(record)
            except (Conflict, UnknownOutcome) as error:
                # Our own write may have been done, also late, or twice by a proxy, which shows us
                # the refusal of the second: what is there now decides.
                now = self.read()
                if now == record:
                    return
                if now != before or isinstance(error, Conflict):
                    raise self._changed() from None
                if not tries_left:
                    raise
            else:
                self._there = stored
                self.found = record
                return

    def update(self, run_id: str, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
        """Change the record of a run, on top of what others have written into it meanwhile.

        Args:
            run_id: the run that it must still be of.
            change: from the record as it is to the record as it shall be.

        Raises:
            StaleError: when the record is of another run by now, or contended without end.
        """
        with self._turn:
            return self._swap(run_id, change)

    def _changed(self) -> StaleError:
        return StaleError(
            f"ConfigMap {self.namespace}/{self._name} was changed by somebody else meanwhile; "
            "see 'rollout status', then try again"
        )

    def _swap(self, run_id: str, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
        for _ in range(_ATTEMPTS):
            record = self.found
            if record is None or record.run_id != run_id:
                raise StaleError(
                    f"ConfigMap {self.namespace}/{self._name} is no longer the record of run "
                    f"{run_id}; see 'rollout status'"
                )
            changed = change(record)
            try:
                self.write(changed)
            except StaleError:
                self.read()
                continue
            assert self.found is not None
            return self.found
        raise StaleError(f"ConfigMap {self.namespace}/{self._name} changes all the time; try again")

    def _send(self, record: RunRecord) -> WholeConfigMap:
        body = self._body(record)
        if self._there is not None:
            return self._client.replace(self._path(), body, WholeConfigMap)
        collection = resource_path(CORE, "configmaps", namespace=self.namespace)
        return self._client.create(collection, body, WholeConfigMap)

    def _path(self) -> str:
        return resource_path(CORE, "configmaps", namespace=self.namespace, name=self._name)

    def _body(self, record: RunRecord) -> JsonObject:
        there = self._there or WholeConfigMap({})
        labels = {k: v for k, v in there.labels.items() if k != AT_WORK_LABEL}
        at_work = {AT_WORK_LABEL: "true"} if record.phase in AT_WORK else {}
        metadata: JsonObject = {
            **there.kept(),
            "name": self._name,
            "namespace": self.namespace,
            "labels": {**labels, **MANAGED_BY, **at_work},
        }
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {**there.data, **self._past(record), DATA_KEY: encode_record(record)},
            "binaryData": there.binary_data,
        }

    def _config_map(self) -> ConfigMap:
        """Return what is there, as those who read a record or a history take it."""
        data = self._there.data if self._there is not None else {}
        return ConfigMap(Meta(self._name, namespace=self.namespace), data)

    def _past(self, record: RunRecord) -> dict[str, str]:
        """Return the history of earlier runs, with the one whose place this record takes."""
        found = self.found
        if found is None or found.run_id == record.run_id:
            return {}
        known = decode_history(self._config_map())
        return {HISTORY_KEY: encode_history(with_run(known, past_run(found)))}
