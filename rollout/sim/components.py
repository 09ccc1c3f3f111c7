"""Who the parts of the cluster are to the API server, as its audit log names them.

On a real cluster they are clients like any other: controllers under the service accounts that
kube-controller-manager makes (`--use-service-account-credentials`), the scheduler, and a kubelet
for each node.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rollout.sim.rbac import AUTHENTICATED
from rollout.sim.registry import Caller

VERSION: Final = "v1.36.0"
_NAMESPACE: Final = "kube-system"
_ACCOUNTS: Final = ("system:serviceaccounts", f"system:serviceaccounts:{_NAMESPACE}", AUTHENTICATED)
_PREFIX: Final = f"system:serviceaccount:{_NAMESPACE}:"
_KUBELETS: Final = ("system:nodes", AUTHENTICATED)
SCHEDULER: Final = Caller("system:kube-scheduler", (AUTHENTICATED,), "kube-scheduler")
DAEMON_SET_CONTROLLER: Final = "daemon-set-controller"


def controller_caller(account: str, manager: str) -> Caller:
    """Return a controller of the controller manager.

    Args:
        account: its service account (`daemon-set-controller`).
        manager: the field manager of all controllers.
    """
    return Caller(f"{_PREFIX}{account}", _ACCOUNTS, manager)


@lru_cache(maxsize=8192)
def kubelet_caller(node: str) -> Caller:
    """Return the kubelet of a node."""
    return Caller(f"system:node:{node}", _KUBELETS, "kubelet")


def user_agent(caller: Caller) -> str:
    """Return how a component names itself in its requests."""
    program = caller.manager
    if caller.user.startswith(_PREFIX):
        account = caller.user.removeprefix("system:")
        return f"kube-controller-manager/{VERSION} (linux/amd64) kubernetes/{account}"
    return f"{program}/{VERSION} (linux/amd64) kubernetes"
