"""What travels beside a datagram: ip(7) and ipv6(7) control messages. No I/O."""

import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..machine import IPAddress

ControlMessage = tuple[int, int, bytes]
"""Level, type and value, as `socket.sendmsg` takes them."""

IP_PKTINFO: Final = 8
IPV6_RECVPKTINFO: Final = 49
"""Options that have the kernel tell where a datagram came to."""

_IP_TTL: Final = 2
_IPV6_PKTINFO: Final = 50
_IPV6_HOPLIMIT: Final = 52
_PKTINFO_V4: Final = struct.Struct("=I4s4s")
_PKTINFO_V6: Final = struct.Struct("=16sI")


def sending(source: IPAddress, interface: int, ttl: int | None) -> list[ControlMessage]:
    """Return what has a datagram leave from `source`.

    Args:
        source: a local address.
        interface: index of the interface that it leaves by; 0: whichever the routes say.
        ttl: hops that it lives; `None`: as usual.
    """
    if isinstance(source, IPv4Address):
        level, ttl_kind = socket.IPPROTO_IP, _IP_TTL
        info = (level, IP_PKTINFO, _PKTINFO_V4.pack(interface, source.packed, bytes(4)))
    else:
        level, ttl_kind = socket.IPPROTO_IPV6, _IPV6_HOPLIMIT
        info = (level, _IPV6_PKTINFO, _PKTINFO_V6.pack(source.packed, interface))
    return [info] if ttl is None else [info, (level, ttl_kind, struct.pack("=i", ttl))]


def local_address(received: Sequence[ControlMessage]) -> IPAddress | None:
    """Return the address that a datagram came to; `None`: the kernel has not said."""
    for level, kind, value in received:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO) and len(value) >= _PKTINFO_V4.size:
            return IPv4Address(value[8:12])
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(value) >= 16:
            return IPv6Address(value[:16])
    return None
