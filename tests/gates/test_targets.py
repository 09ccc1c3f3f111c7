from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.settings import Settings
from rollout.gates.targets import TargetRefused, check_addresses, check_host, parse_target


def refusal(url: str, *addresses: str, pod: bool = False, **settings: tuple[str, ...]) -> str:
    allowed = Settings(**{"hosts": ("h.example", "localhost", "127.0.0.1"), **settings})  # type: ignore[arg-type] # lists only
    try:
        target = parse_target(url)
        check_host(target, allowed, pod=pod)
        check_addresses(target, [ip_address(a) for a in addresses], allowed, pod=pod)
    except TargetRefused as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("h.example", "https://h.example/", True),
        ("H.Example", "https://h.example./x", True),
        ("h.example", "https://x.h.example/", False),
        ("h.example", "https://h.example.evil/", False),
        ("*.example", "https://h.example/", True),
        ("*.example", "https://example/", False),
        ("*.example", "https://badexample/", False),
        ("h.example:9090", "https://h.example:9090/", True),
        ("h.example:9090", "https://h.example/", False),
        ("h.example", "https://h.example:9090/", True),
        ("[::1]:9090", "https://[::1]:9090/", True),
        ("::1", "https://[::1]:9090/", True),
        ("*.0.0.1", "https://127.0.0.1/", False),
        ("h.example", "https://h.example@evil/", False),
    ],
)
def test_a_host_must_be_on_the_callers_list(entry: str, url: str, *, allowed: bool) -> None:
    said = refusal(url, hosts=(entry,))
    assert (said == "") is allowed
    assert allowed or "pass --allow-host" in said


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(TargetRefused, match=r"host h.example is not allowed"):
        check_host(parse_target("https://h.example/"), Settings())


@pytest.mark.parametrize(
    "address",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),  # noqa: S104 - refused
        *("127.0.0.1", "224.0.0.1", "fd00::1", "fe80::1", "::1", "::", "::ffff:10.0.0.1"),
        *("64:ff9b::a00:1", "2002:a00:1::", "240.0.0.1"),
    ],
)
def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    said = refusal("https://h.example/", "93.184.216.34", address)
    assert said.startswith("h.example is ")
    assert "pass --allow-network" in said


def test_a_private_address_in_an_allowed_network_is_fine() -> None:
    assert not refusal("https://h.example/", "10.1.2.3", private=("10.0.0.0/8",))
    listed = refusal("https://10.1.2.3/", "10.1.2.3", private=("10.0.0.0/8",))
    assert listed.startswith("host 10.1.2.3 is not allowed")  # only a pod's need not be listed
    assert "private address" in refusal("https://h.example/", "10.1.2.3", private=("10.2.0.0/16",))


def test_a_private_literal_on_the_host_list_still_needs_its_network() -> None:
    assert "link-local" in refusal(
        "https://169.254.169.254/", "169.254.169.254", hosts=("169.254.169.254",)
    )


def test_only_loopback_is_asked_without_tls() -> None:
    assert not refusal("http://localhost:9090/", "127.0.0.1", "::1")
    assert not refusal("http://127.0.0.1:9090/", "127.0.0.1")
    assert "use https" in refusal("http://h.example/", "93.184.216.34")
    network = ("10.0.0.0/8",)
    listed = ("10.0.0.1",)
    assert "use https" in refusal("http://10.0.0.1/", "10.0.0.1", private=network, hosts=listed)
    assert not refusal("http://10.0.0.1/", "10.0.0.1", private=network, pod=True)


@given(st.ip_addresses())
def test_whatever_is_not_public_needs_the_callers_word(address: object) -> None:
    parsed = ip_address(str(address))
    said = refusal("https://h.example/", str(address))
    if parsed.is_private or parsed.is_link_local or parsed.is_multicast or parsed.is_loopback:
        assert said


@pytest.mark.parametrize("url", ["https://", "ftp://h/", "https://h:99999/", "https://[::1/", "h"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused, match="is not an address"):
        parse_target(url)
