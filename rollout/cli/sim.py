"""`rollout sim`: the embedded cluster."""

from __future__ import annotations

import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.errors import DocumentError, RolloutError, UsageError

if TYPE_CHECKING:
    from rollout.sim.audit import AuditLog
    from rollout.sim.fleetfile import Fleet


@click.group()
def sim() -> None:
    """Run the embedded cluster: Kubernetes 1.36's API, controllers and kubelets in one process."""


@sim.command()
@click.option("--nodes", type=click.IntRange(min=0), help="Number of nodes (default: 20).")
@click.option("--zones", type=click.IntRange(min=1), help="Number of zones (default: 3).")
@click.option(
    "--fleet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Describes nodes, labels, taints, DaemonSets, start and stop times.",
)
@click.option(
    "--faults",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A script of faults: API errors, lost answers, broken watches, lost nodes.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("rollout-sim.kubeconfig"),
    show_default=True,
    help="Written here (mode 0600), beside what is there; taken out again at the end.",
)
@click.option(
    "--use-context",
    is_flag=True,
    help="Make its context the current one in a file that has others; in a new file it is.",
)
@click.option(
    "--audit",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append the API server's audit log to this file: an audit.k8s.io/v1 event a line.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port on loopback (default: any)."
)
def start(
    *,
    nodes: int | None,
    zones: int | None,
    fleet: Path | None,
    faults: Path | None,
    kubeconfig: Path,
    use_context: bool,
    audit: Path | None,
    port: int,
) -> None:
    """Run the embedded cluster in the foreground, on loopback, until Ctrl-C.

    Without --fleet there is one DaemonSet 'log-agent' in the namespace 'logging', up to date on
    every node.

    \b
    Example:
      rollout sim start --nodes 50 --kubeconfig /tmp/sim.kubeconfig
      kubectl --kubeconfig /tmp/sim.kubeconfig get nodes
    """
    from rollout.sim import kubeconfigfile
    from rollout.sim.embedded import EmbeddedCluster
    from rollout.sim.errors import StatusError
    from rollout.sim.faultfile import read_faults

    described = _described(nodes, zones, fleet)
    script = read_faults(faults) if faults is not None else None
    kubeconfigfile.check_place(kubeconfig)
    log = _audit_log(audit)
    click.get_current_context().call_on_close(log.close)
    try:
        cluster = EmbeddedCluster(described, port=port, audit=log, faults=script)
    except StatusError as error:  # an object that the API refuses, as a real one would
        raise DocumentError(f"{fleet or 'the fleet'}: {error}") from None
    end, _told = _ending()
    try:
        cluster.start()
    except OSError as error:
        reason = error.strerror or str(error)
        raise RolloutError(f"port {port} cannot be opened: {reason}; choose another one") from None
    config, before = cluster.kubeconfig(), kubeconfigfile.current_context(kubeconfig)
    try:
        current = kubeconfigfile.write(kubeconfig, config, use_context=use_context)
        click.echo(f"The embedded cluster answers on {cluster.server.url}. Ctrl-C ends it.")
        click.echo(f"  export KUBECONFIG={kubeconfig.absolute()}")
        if current != kubeconfigfile.NAME:
            click.echo(f"  and --context {kubeconfigfile.NAME}: the current one is {current}")
        end.recv(1)
    finally:
        cluster.stop()
        kubeconfigfile.remove(kubeconfig, config, before)
    for line in cluster.fault_report():
        click.echo(line)
    if log.failed is not None:
        reason = log.failed.strerror or str(log.failed)
        raise RolloutError(
            f"{audit}: events are missing at its end: {reason}; make room, or choose another place"
        )


def _described(nodes: int | None, zones: int | None, fleet: Path | None) -> Fleet:
    """Return what the cluster starts with: by the file, or by the number of nodes."""
    from rollout.sim.fleetfile import (
        DEFAULT_NODES,
        DEFAULT_ZONES,
        default_fleet,
        default_nodes,
        read_fleet,
    )

    seed = secrets.randbits(32)  # else every cluster would have the identity of all others
    count, spread = nodes if nodes is not None else DEFAULT_NODES, zones or DEFAULT_ZONES
    if fleet is None:
        return default_fleet(count, spread, seed=seed)
    described = read_fleet(fleet, nodes=count, zones=spread, seed=seed)
    asked = nodes is not None or zones is not None
    if asked and described.nodes != default_nodes(count, spread):
        raise UsageError(f"{fleet} says which nodes there are; leave --nodes and --zones out")
    return described


def _ending() -> tuple[socket.socket, socket.socket]:
    """Let signals that ask for the end be read from a socket, the first of the pair.

    Behind Ctrl-Z another thread may get the signal, which ends no wait for a lock or an event.
    """
    end, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return end, told


def _audit_log(path: Path | None) -> AuditLog:
    """Open the audit log, which is in memory only where there is no path."""
    from rollout.sim.audit import AuditLog

    def warn(error: OSError) -> None:
        reason = error.strerror or str(error)
        click.echo(f"warning: {path}: takes no more events: {reason}", err=True)

    try:
        return AuditLog(path, warn)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RolloutError(f"{path}: cannot be written: {reason}; choose another place") from None
