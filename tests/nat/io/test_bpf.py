"""The filter lets through exactly what `is_stun` calls STUN, on the right port."""

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.io.bpf import (
    DROP_ALL,
    Program,
    assemble,
    peer_filter_v4,
    stun_filter_v4,
    stun_filter_v6,
)
from nat.stun.message import MAGIC_COOKIE, binding_request, is_stun

PORT = 51820


NETWORK_HEADER = 0xFFF00000
"""SKF_NET_OFF: a load from here on counts from the IP header."""


def accepts(program: Program, packet: bytes, network: bytes = b"") -> bool:
    """Run a classic BPF program as the kernel does; a load past the end drops the packet."""
    a = x = position = 0
    memory = [0] * 16

    def load(offset: int, size: int) -> int:
        if offset >= NETWORK_HEADER:
            return int.from_bytes(network[offset - NETWORK_HEADER :][:size], "big")
        if offset + size > len(packet):
            raise IndexError
        return int.from_bytes(packet[offset : offset + size], "big")

    try:
        while True:
            code, if_true, if_false, k = program[position]
            position += 1
            match code:
                case 0x28:
                    a = load(k, 2)
                case 0x20:
                    a = load(k, 4)
                case 0x30:
                    a = load(k, 1)
                case 0x48:
                    a = load(x + k, 2)
                case 0x40:
                    a = load(x + k, 4)
                case 0x50:
                    a = load(x + k, 1)
                case 0xB1:
                    x = 4 * (load(k, 1) & 15)
                case 0x15:
                    position += if_true if a == k else if_false
                case 0x1D:
                    position += if_true if a == x else if_false
                case 0x45:
                    position += if_true if a & k else if_false
                case 0x04:
                    a = (a + k) & 0xFFFFFFFF
                case 0x02:
                    memory[k] = a
                case 0x61:
                    x = memory[k]
                case 0x06:
                    return k != 0
                case _:
                    raise AssertionError(f"unknown code {code:#x}")
    except IndexError:
        return False


def udp(payload: bytes, port: int = PORT) -> bytes:
    return struct.pack("!HHHH", 3478, port, 8 + len(payload), 0) + payload


def ipv4(payload: bytes, port: int = PORT, options: int = 0) -> bytes:
    header = bytes([0x45 + options]) + bytes(19 + 4 * options)
    return header + udp(payload, port)


STUN_LIKE = st.builds(
    lambda first, length, cookie, rest: (
        bytes([first, 1]) + length.to_bytes(2, "big") + cookie + rest
    ),
    st.integers(0, 255),
    st.integers(0, 40),
    st.sampled_from([MAGIC_COOKIE, bytes(4)]),
    st.binary(max_size=60),
)


@given(STUN_LIKE | st.binary(max_size=60), st.integers(0, 10))
def test_both_filters_agree_with_is_stun(payload: bytes, options: int) -> None:
    assert accepts(stun_filter_v4(PORT), ipv4(payload, options=options)) is is_stun(payload)
    assert accepts(stun_filter_v6(PORT), udp(payload)) is is_stun(payload)


def test_another_port_is_not_ours() -> None:
    request = binding_request(bytes(12))

    assert accepts(stun_filter_v4(PORT), ipv4(request))
    assert not accepts(stun_filter_v4(PORT), ipv4(request, port=PORT + 1))
    assert not accepts(stun_filter_v6(PORT), udp(request, port=PORT + 1))


@pytest.mark.parametrize(("message_type", "size"), [(1, 148), (2, 92), (3, 64), (4, 32)])
def test_wireguard_never_passes_even_if_its_index_is_the_cookie(
    message_type: int, size: int
) -> None:
    payload = (bytes([message_type, 0, 0, 0]) + MAGIC_COOKIE).ljust(size, b"\0")

    assert not accepts(stun_filter_v4(PORT), ipv4(payload))
    assert not accepts(stun_filter_v6(PORT), udp(payload))


REMOTE, REMOTE_PORT = IPv4Address("198.51.100.2"), 42000


def opened_port_hears(payload: bytes, source: IPv4Address, source_port: int) -> bool:
    header = bytes([0x45]) + bytes(11) + source.packed + bytes(4)
    packet = struct.pack("!HHHH", source_port, PORT, 8 + len(payload), 0) + payload
    return accepts(peer_filter_v4(REMOTE, REMOTE_PORT), packet, header)


def test_an_opened_port_hears_stun_from_its_peer_only() -> None:
    request = binding_request(bytes(12))

    assert opened_port_hears(request, REMOTE, REMOTE_PORT)
    assert not opened_port_hears(request, REMOTE, REMOTE_PORT + 1)
    assert not opened_port_hears(request, IPv4Address("198.51.100.3"), REMOTE_PORT)
    assert not opened_port_hears(bytes(20), REMOTE, REMOTE_PORT)
    assert not opened_port_hears(b"", REMOTE, REMOTE_PORT)


def test_the_first_filter_drops_everything() -> None:
    assert not accepts(DROP_ALL, ipv4(binding_request(bytes(12))))


def test_a_program_is_an_array_of_eight_byte_instructions() -> None:
    assert len(assemble(stun_filter_v4(PORT))) == 8 * len(stun_filter_v4(PORT))
