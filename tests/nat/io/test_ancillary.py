"""Control messages, byte by byte as the kernel has them."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.io.ancillary import local_address, sending


def test_a_datagram_leaves_from_its_address_by_the_interface_that_owns_it() -> None:
    assert sending(IPv4Address("10.2.0.1"), 7, None) == [
        # struct in_pktinfo: ipi_ifindex, ipi_spec_dst, ipi_addr
        (socket.IPPROTO_IP, 8, bytes([7, 0, 0, 0, 10, 2, 0, 1, 0, 0, 0, 0]))
    ]
    assert sending(IPv6Address("2001:db8::9"), 7, None) == [
        # struct in6_pktinfo: ipi6_addr, ipi6_ifindex
        (socket.IPPROTO_IPV6, 50, IPv6Address("2001:db8::9").packed + bytes([7, 0, 0, 0]))
    ]


@pytest.mark.parametrize(
    ("source", "kind"), [(IPv4Address("10.2.0.1"), 2), (IPv6Address("2001:db8::9"), 52)]
)
def test_a_short_life_is_told_with_the_datagram(
    source: IPv4Address | IPv6Address, kind: int
) -> None:
    level = socket.IPPROTO_IP if source.version == 4 else socket.IPPROTO_IPV6

    assert sending(source, 0, 2)[1:] == [(level, kind, bytes([2, 0, 0, 0]))]


def test_the_address_that_a_datagram_came_to_is_read_among_other_messages() -> None:
    other = (socket.SOL_SOCKET, 29, bytes(16))
    v4 = (socket.IPPROTO_IP, 8, bytes([3, 0, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1]))
    v6 = (socket.IPPROTO_IPV6, 50, IPv6Address("2001:db8::9").packed + bytes(4))

    assert local_address([other, v4]) == IPv4Address("10.2.0.1")
    assert local_address([other, v6]) == IPv6Address("2001:db8::9")
    assert local_address([other]) is None


@given(st.sampled_from([(0, 8), (41, 50)]), st.binary(max_size=11))
def test_a_message_that_is_too_short_is_no_address(kind: tuple[int, int], value: bytes) -> None:
    assert local_address([(*kind, value)]) is None
