"""The classic BPF programs that pick STUN out of what arrives on WireGuard's port.

A raw socket gets a copy of every UDP datagram of the host; the filter lets through exactly those
with our destination port for which `nat.stun.message.is_stun` holds: magic cookie, the two top
bits zero, and a length that fits. Jumps are offsets, counted from the next instruction.
"""

import struct
from ipaddress import IPv4Address
from typing import Final

from ..stun.message import MAGIC_COOKIE

Program = tuple[tuple[int, int, int, int], ...]
"""Instructions (code, jump if true, jump if false, k) as in `struct sock_filter`."""

# Codes of linux/bpf_common.h, by what they do.
_LOAD_HALF: Final = 0x28  # A = 16 bits at k
_LOAD_WORD: Final = 0x20  # A = 32 bits at k
_LOAD_BYTE: Final = 0x30  # A = 8 bits at k
_LOAD_HALF_X: Final = 0x48  # A = 16 bits at X + k
_LOAD_WORD_X: Final = 0x40  # A = 32 bits at X + k
_LOAD_BYTE_X: Final = 0x50  # A = 8 bits at X + k
_LOAD_X_IHL: Final = 0xB1  # X = 4 * (byte at k & 0xf): the IPv4 header's length
_JUMP_EQUAL: Final = 0x15  # A == k
_JUMP_EQUAL_X: Final = 0x1D  # A == X
_JUMP_SET: Final = 0x45  # A & k
_ADD: Final = 0x04  # A += k
_STORE: Final = 0x02  # M[k] = A
_LOAD_X_STORED: Final = 0x61  # X = M[k]
_RETURN: Final = 0x06

_COOKIE: Final = int.from_bytes(MAGIC_COOKIE, "big")
_TYPE_BITS: Final = 0xC0
_HEADERS: Final = 28
"""UDP header (8) and STUN header (20): the UDP length of a STUN message of length 0."""

_NETWORK_HEADER: Final = 0xFFF00000
"""SKF_NET_OFF of linux/filter.h: an offset that counts from the IP header."""

DROP_ALL: Final[Program] = ((_RETURN, 0, 0, 0),)


def stun_filter_v4(port: int) -> Program:
    """Return the filter of an IPv4 raw socket, whose data starts at the IP header."""
    return (
        (_LOAD_X_IHL, 0, 0, 0),
        (_LOAD_HALF_X, 0, 0, 2),  # UDP destination port
        (_JUMP_EQUAL, 0, 11, port),
        (_LOAD_WORD_X, 0, 0, 12),  # cookie
        (_JUMP_EQUAL, 0, 9, _COOKIE),
        (_LOAD_BYTE_X, 0, 0, 8),
        (_JUMP_SET, 7, 0, _TYPE_BITS),
        (_LOAD_HALF_X, 0, 0, 10),  # STUN length
        (_ADD, 0, 0, _HEADERS),
        (_STORE, 0, 0, 0),
        (_LOAD_HALF_X, 0, 0, 4),  # UDP length
        (_LOAD_X_STORED, 0, 0, 0),
        (_JUMP_EQUAL_X, 0, 1, 0),
        (_RETURN, 0, 0, 0xFFFF),
        (_RETURN, 0, 0, 0),
    )


def stun_filter_v6(port: int) -> Program:
    """Return the filter of an IPv6 raw socket, whose data starts at the UDP header."""
    return (
        (_LOAD_HALF, 0, 0, 2),
        (_JUMP_EQUAL, 0, 11, port),
        (_LOAD_WORD, 0, 0, 12),
        (_JUMP_EQUAL, 0, 9, _COOKIE),
        (_LOAD_BYTE, 0, 0, 8),
        (_JUMP_SET, 7, 0, _TYPE_BITS),
        (_LOAD_HALF, 0, 0, 10),
        (_ADD, 0, 0, _HEADERS),
        (_STORE, 0, 0, 0),
        (_LOAD_HALF, 0, 0, 4),
        (_LOAD_X_STORED, 0, 0, 0),
        (_JUMP_EQUAL_X, 0, 1, 0),
        (_RETURN, 0, 0, 0xFFFF),
        (_RETURN, 0, 0, 0),
    )


def peer_filter_v4(remote: IPv4Address, remote_port: int) -> Program:
    """Return the filter of an IPv4 UDP socket that hears STUN from one endpoint only.

    The data of such a socket starts at the UDP header; the IP header is reached by an offset.
    """
    return (
        (_LOAD_WORD, 0, 0, _NETWORK_HEADER + 12),  # IPv4 source address
        (_JUMP_EQUAL, 0, 5, int(remote)),
        (_LOAD_HALF, 0, 0, 0),  # UDP source port
        (_JUMP_EQUAL, 0, 3, remote_port),
        (_LOAD_WORD, 0, 0, 12),  # cookie
        (_JUMP_EQUAL, 0, 1, _COOKIE),
        (_RETURN, 0, 0, 0xFFFF),
        (_RETURN, 0, 0, 0),
    )


def assemble(program: Program) -> bytes:
    """Return the program as an array of `struct sock_filter`."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)
