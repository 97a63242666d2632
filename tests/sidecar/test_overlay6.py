"""Overlay IPv6 addresses follow from the team and the IPv4 address alone."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from sidecar.overlay6 import Overlay6

TEAM, OTHER = "cf3a40b51e3f6eb2a1d4b0e3f7c99e24", "2d6c5f1ab2b1cc0ee62ac94e4d5a0b24"


def test_the_network_is_a_unique_local_one_of_the_team() -> None:
    network = Overlay6(TEAM).network
    assert network.prefixlen == 48
    assert network.subnet_of(IPv6Network("fd00::/8")), "locally assigned (RFC 4193 §3.1)"
    assert network == Overlay6(TEAM).network
    assert not network.overlaps(Overlay6(OTHER).network)


def test_the_derivation_never_changes() -> None:
    """Two releases in one mesh must agree: these values are for ever."""
    assert Overlay6("team").address(IPv4Address("100.64.7.2")) == IPv6Address(
        "fd03:186e:7ff7::6440:702"
    )


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_the_host_part_is_the_ipv4_address(one: IPv4Address, other: IPv4Address) -> None:
    overlay = Overlay6(TEAM)
    address = overlay.address(one)
    assert address in overlay.network
    assert int(address) & 0xFFFFFFFF == int(one)
    assert (address == overlay.address(other)) == (one == other)
    interface = overlay.interface(one)
    assert (interface.ip, interface.network.prefixlen) == (address, 64)
    assert overlay.address(other) in interface.network, "every member is on the link"
