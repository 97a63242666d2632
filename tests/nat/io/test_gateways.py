"""Which local endpoint is mapped at which gateway."""

from ipaddress import ip_address

import pytest

from nat.io import gateways
from nat.io.gateways import MAX_UPLINKS, find_uplinks
from nat.io.interfaces import HostNetwork, LocalAddress
from nat.machine import Endpoint
from nat.portmap.values import Gateway, Uplink

ROUTER = ip_address("192.168.1.1")


@pytest.fixture(autouse=True)
def _neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {(2, ROUTER): "02:00:00:00:00:01"}
    monkeypatch.setattr(gateways, "_hardware_addresses", lambda: known)


def network(*addresses: tuple[str, str, int], routes: tuple[tuple[int, str], ...]) -> HostNetwork:
    return HostNetwork(
        tuple(
            LocalAddress(ip_address(ip), name, 65535 - number, uplink)
            for number, (ip, name, uplink) in enumerate(addresses)
        ),
        (),
        gateways=frozenset(routes),
    )


def uplinks(found: HostNetwork) -> list[tuple[str, str]]:
    return [(str(u.base.ip), str(u.gateway.ip)) for u in find_uplinks(found, 20000)]


def test_an_address_is_mapped_at_the_gateway_of_its_interface() -> None:
    home = network(("192.168.1.2", "eth0", 2), routes=((2, "192.168.1.1"),))

    assert find_uplinks(home, 20000) == (
        Uplink(
            Gateway(ROUTER, "eth0", "02:00:00:00:00:01"),
            Endpoint(ip_address("192.168.1.2"), 20000),
        ),
    )


def test_two_uplinks_have_a_mapping_each_the_better_first() -> None:
    both = network(
        ("192.168.1.2", "eth0", 2),
        ("10.0.0.2", "wlan0", 3),
        routes=((3, "10.0.0.1"), (2, "192.168.1.1")),
    )

    assert uplinks(both) == [("192.168.1.2", "192.168.1.1"), ("10.0.0.2", "10.0.0.1")]


def test_a_second_ipv4_address_of_an_interface_needs_no_mapping_of_its_own() -> None:
    home = network(
        ("192.168.1.2", "eth0", 2), ("192.168.1.3", "eth0", 2), routes=((2, "192.168.1.1"),)
    )

    assert uplinks(home) == [("192.168.1.2", "192.168.1.1")]


def test_each_global_ipv6_address_needs_a_pinhole_and_a_unique_local_one_none() -> None:
    home = network(
        ("2001:db8::2", "eth0", 2),
        ("2001:db8::3", "eth0", 2),
        ("fd00::2", "eth0", 2),
        routes=((2, "fe80::1"), (2, "192.168.1.1")),
    )

    assert uplinks(home) == [("2001:db8::2", "fe80::1"), ("2001:db8::3", "fe80::1")]


@pytest.mark.parametrize("routes", [(), ((2, ""),), ((3, "192.168.1.1"),)])
def test_without_a_gateway_there_is_nobody_to_ask(routes: tuple[tuple[int, str], ...]) -> None:
    assert uplinks(network(("192.168.1.2", "eth0", 2), routes=routes)) == []


def test_the_number_of_mappings_is_bounded() -> None:
    many = network(
        *((f"2001:db8::{number:x}", "eth0", 2) for number in range(1, 100)),
        routes=((2, "fe80::1"),),
    )

    assert len(find_uplinks(many, 20000)) == MAX_UPLINKS
