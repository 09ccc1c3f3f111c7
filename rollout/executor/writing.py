"""Carries out single actions of the engine: one call, one answer, from any thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rollout.cluster.client import Client, PatchKind
from rollout.cluster.fleet import CORE, daemon_set_path
from rollout.cluster.paths import resource_path
from rollout.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    NotFound,
    StaleError,
    TransientError,
    Unauthenticated,
    UnknownOutcome,
    Withheld,
)
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import (
    Action,
    DeletePod,
    PodWrite,
    Prepare,
    ReadDaemonSet,
    ReadPod,
    Reassert,
    ReleasePod,
    Restore,
    TakeBack,
)
from rollout.executor.engine.engine import Engine
from rollout.executor.lock.steadyclock import steady_clock
from rollout.executor.patches import (
    prepare_patch,
    reassert_patch,
    release_patch,
    restore_patch,
    take_back_patch,
)
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, Pod
from rollout.planner.plan import Plan

FRESH_S = 2.0  # after which a decision to take a pod away is not carried out any more


class Writer:
    """Writes for one run.

    Args:
        client: of the cluster; guarded, for nothing here asks whether the lock holds (S5).
        plan: the plan that is carried out.
        engine: of the run; read only.
        run_id: id of the run.
        put: takes events: what was read, and the answer to each action.
    """

    def __init__(
        self,
        client: Client,
        plan: Plan,
        engine: Engine,
        run_id: str,
        put: Callable[[ev.Event], None],
    ) -> None:
        self._client = client
        self._plan = plan
        self._engine = engine
        self._run_id = run_id
        self._put = put

    def perform(
        self,
        action: Action,
        explained: Callable[[], None] = lambda: None,
        decided: float | None = None,
    ) -> None:
        """Run in a writer's thread: one call, one answer.

        Args:
            action: what to do.
            explained: returns when the record explains it (S4); raises why it does not.
            decided: when, by the steady clock, where others may take us for dead after that: then
                the wait for a thread counts as well. None: now.
        """
        began = steady_clock() if decided is None else decided
        try:
            explained()
        except Exception as error:  # the loop must hear of it, or it would wait for ever
            self._put(_unexplained(action, error))
            if not isinstance(error, ClusterError | StaleError):
                raise
            return
        try:
            answer = self._call(action, began)
        except UnknownOutcome as error:
            answer = ev.Answered(action, ev.Answer.UNKNOWN, str(error))
        except Conflict as error:
            answer = ev.Answered(action, ev.Answer.CONFLICT, str(error))
        except NotFound as error:
            answer = ev.Answered(action, ev.Answer.NOT_FOUND, str(error))
        except (TransientError, Withheld) as error:
            answer = ev.Answered(action, ev.Answer.NOT_DONE, str(error))
        except Unauthenticated as error:
            code = error.exit_code
            answer = ev.Answered(action, ev.Answer.NOT_ALLOWED, str(error), exit_code=code)
        except (ClusterError, StaleError) as error:
            answer = ev.Answered(action, ev.Answer.REFUSED, str(error), exit_code=error.exit_code)
        except Exception as error:  # as above
            self._put(ev.Answered(action, ev.Answer.REFUSED, repr(error)))
            raise
        self._put(answer)

    def _call(self, action: Action, began: float) -> ev.Answered:
        match action:
            case Prepare(name):
                ds = self._engine.daemon_sets[name]
                assert ds.live is not None
                body = prepare_patch(self._plan, ds.planned, ds.live, self._run_id)
                return self._patched(action, name, body)
            case Restore(name):
                ds = self._engine.daemon_sets[name]
                assert ds.live is not None
                return self._patched(action, name, restore_patch(ds.planned, ds.live))
            case Reassert(name):
                return self._reasserted(action, name)
            case DeletePod(name, _, pod, uid):
                self._fresh(action, began).delete(self._pod_path(name, pod), uid=uid)
            case ReleasePod(name, _, pod, uid):
                body = release_patch(self._engine.daemon_sets[name].planned, uid, self._run_id)
                self._fresh(action, began).patch(
                    self._pod_path(name, pod), body, PatchKind.MERGE, msgspec.Raw
                )
            case TakeBack(name, node, pod, _):
                ds = self._engine.daemon_sets[name]
                released = ds.view.released.get(node)
                if ds.live is None or released is None:
                    return ev.Answered(action, ev.Answer.CONFLICT)
                body = take_back_patch(ds.live, released)
                self._client.patch(self._pod_path(name, pod), body, PatchKind.MERGE, msgspec.Raw)
            case ReadPod(write):
                self._read_pod(write)
            case ReadDaemonSet(name):
                seen = self._client.get(self._path(name), DaemonSet)
                self._put(ev.DaemonSetSeen(name, seen))
        return ev.Answered(action, ev.Answer.ACCEPTED)

    def _fresh(self, write: DeletePod | ReleasePod, began: float) -> Client:
        """Return a client that sends what takes a pod away soon, or not at all.

        While a server asks for patience the cluster goes on: what was right when it was decided
        may cost a node its last pod by now (S1). So it is not sent, and decided anew.
        """

        def not_right_any_more() -> str:
            age = steady_clock() - began
            if age > FRESH_S:
                return f"it was decided {age:.0f} s ago, and is looked at anew"
            return "its successor is down, and is looked at anew" if self._is_last(write) else ""

        return self._client.guarded(not_right_any_more)

    def _is_last(self, write: DeletePod | ReleasePod) -> bool:
        """Whether it is the old half of a hand-over, and nothing else serves on its node."""
        view = self._engine.daemon_sets[write.daemon_set].view
        released = view.released.get(write.node)
        if released is None or released.metadata.uid != write.uid or not released.ready:
            return False
        beside = tuple(view.by_node.get(write.node, {}).values())  # the loop changes it meanwhile
        return not any(pod.ready and not pod.terminating for pod in beside)

    def _patched(self, action: Action, name: str, body: dict[str, Any]) -> ev.Answered:
        """Patch a DaemonSet, unless it is not as the run left it any more (S9).

        Somebody may have changed it since the patch was decided, which waits behind other writes;
        it is bound to the state of now, and would take that change for its own.
        """
        ds = self._engine.daemon_sets[name]
        if ds.live is not None and ds.drift(ds.live):
            return ev.Answered(action, ev.Answer.CONFLICT)
        seen = self._client.patch(self._path(name), body, PatchKind.STRATEGIC, DaemonSet)
        generation = seen.metadata.generation
        self._put(ev.DaemonSetSeen(name, seen))
        return ev.Answered(action, ev.Answer.ACCEPTED, generation=generation)

    def _reasserted(self, action: Action, name: str) -> ev.Answered:
        """Set OnDelete, in nothing but the state in which it was turned back."""
        live = self._engine.daemon_sets[name].live
        if live is None or not self._engine.daemon_sets[name].is_turned_back(live):
            return ev.Answered(action, ev.Answer.CONFLICT)
        body = reassert_patch(live)
        seen = self._client.patch(self._path(name), body, PatchKind.STRATEGIC, DaemonSet)
        self._put(ev.DaemonSetSeen(name, seen))
        return ev.Answered(action, ev.Answer.ACCEPTED)

    def _read_pod(self, write: PodWrite) -> None:
        name, path = write.daemon_set, self._pod_path(write.daemon_set, write.pod)
        pod = self._client.get_or_none(path, Pod)
        if pod is None or pod.metadata.uid != write.uid:
            self._put(ev.PodGone(name, write.uid))
            self._put(ev.ReleasedGone(name, write.node, write.uid))
        elif marks.RELEASED_FROM in pod.metadata.labels:
            self._put(ev.PodGone(name, write.uid, pod.metadata.resource_version))
            self._put(ev.ReleasedSeen(name, pod))
        else:
            self._put(ev.PodSeen(name, pod))

    def _path(self, name: str) -> str:
        return daemon_set_path(self._engine.daemon_sets[name].planned.namespace, name)

    def _pod_path(self, daemon_set: str, pod: str) -> str:
        namespace = self._engine.daemon_sets[daemon_set].planned.namespace
        return resource_path(CORE, "pods", namespace=namespace, name=pod)


def _unexplained(action: Action, error: Exception) -> ev.Answered:
    """Return the answer where nothing was sent, as the record does not explain it: no node's fault.

    It is decided anew, but where the record may not be written at all, or the error is our own.
    """
    why = "the run record could not be written"
    match error:
        case Forbidden():
            answer, code = ev.Answer.NOT_ALLOWED, error.exit_code
            return ev.Answered(action, answer, f"{why}: {error}", exit_code=code)
        case ClusterError() | StaleError():
            return ev.Answered(action, ev.Answer.NOT_DONE, f"{why}: {error}")
        case _:
            return ev.Answered(action, ev.Answer.NOT_ALLOWED, f"{why}: {error!r}")
