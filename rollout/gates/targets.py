"""Which addresses gates may talk to. Pure: names and numbers in, a refusal or nothing out.

A gate's target stands in a spec that somebody else may have written; whether this machine asks it
is the caller's word. So every host must be on the caller's list, a private or link-local address
also in one of the caller's networks, and anything but loopback is asked over https.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from rollout.errors import RolloutError
from rollout.gates.settings import Settings

Address = IPv4Address | IPv6Address
_NAT64 = IPv6Network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}


class TargetRefused(RolloutError):
    """The caller doesn't allow this target; the message says how to allow it."""


@dataclass(frozen=True, slots=True)
class Target:
    """An http address, taken apart."""

    scheme: str
    host: str  # lower case, without brackets and a last dot
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """Take an address apart.

    Raises:
        TargetRefused: it isn't one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused(f"'{url}' is not an address; write https://HOST/PATH") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise TargetRefused(f"'{url}' is not an address; write https://HOST/PATH")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname.lower().rstrip(".")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path)


def check_host(target: Target, settings: Settings, *, pod: bool = False) -> None:
    """Refuse a host that the caller's list doesn't hold.

    Args:
        target: where a gate wants to go.
        settings: what the caller allows.
        pod: the host is the address of a pod, which the cluster gave and nobody could list; it
            must be in one of the caller's networks instead.

    Raises:
        TargetRefused: with how to allow it.
    """
    literal = _literal(target.host)
    if pod and literal is not None and _inside(literal, settings.private):
        return
    if any(_matches(entry, target) for entry in settings.hosts):
        return
    raise TargetRefused(
        f"host {target.host} is not allowed; add it to 'hosts' in the configuration "
        f"or pass --allow-host {target.host}"
    )


def check_addresses(
    target: Target, addresses: Sequence[Address], settings: Settings, *, pod: bool = False
) -> None:
    """Refuse a target that leads, by any of its addresses, to where the caller doesn't want us.

    Args:
        target: an allowed host.
        addresses: all that its name resolves to.
        settings: what the caller allows.
        pod: it is a pod's own address, where http is fine.

    Raises:
        TargetRefused: with the address and how to allow it.
    """
    for address in map(_meant, addresses):
        named = target.host == "localhost" or _literal(target.host) is not None
        if address.is_loopback and named:
            continue
        if not address.is_global or address.is_multicast:
            _check_private(target, address, settings)
        if target.scheme == "http" and not address.is_loopback and not pod:
            raise TargetRefused(
                f"http://{target.authority} would send everything in the clear; use https"
            )


def _check_private(target: Target, address: Address, settings: Settings) -> None:
    if _inside(address, settings.private):
        return
    kind = "link-local" if address.is_link_local else "private"
    where = target.host if target.host == str(address) else f"{target.host} is {address}, which"
    raise TargetRefused(
        f"{where} is a {kind} address; add its network to 'privateNetworks' in the configuration "
        f"or pass --allow-network {address}/{address.max_prefixlen}"
    )


def _matches(entry: str, target: Target) -> bool:
    """Whether an entry (`name`, `*.example.com`, `name:port`, `[::1]:9090`) means the target."""
    text = entry.lower()
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = text, ""
    host = host.strip("[]").rstrip(".")
    if port and int(port) != target.port:
        return False
    if host.startswith("*."):
        return target.host.endswith(host[1:]) and _literal(target.host) is None
    return host == target.host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address only wraps."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _inside(address: Address, networks: Iterable[str]) -> bool:
    return any(address in ip_network(network, strict=False) for network in networks)
