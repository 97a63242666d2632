"""How large a packet in the tunnel may be, from what its path carries in one piece.

    packet in the tunnel        1420
    padding to 16 bytes            0..15   never beyond the MTU
    WireGuard's header and tag    32       type, receiver, counter; Poly1305
    UDP                            8
    IP                            20 or 40
                                ────
    on the wire                 1480 or 1500

A narrower path gets a route of its own to the peer, with a lower MTU (`PeerRoute`): TCP, ping and
everything else on this host then heeds it, and no other peer pays for it. The same holds for IPv6
below its least link MTU of 1280, which Linux allows of a route: a source may fragment to any size
(RFC 8200 §5), and TCP takes the smaller segment. That is better than fragments of the outer
datagram, which NATs and firewalls love to lose.
"""

from typing import Final

DEFAULT_MTU: Final = 1420
"""Fits into 1500 bytes with either family outside, as wg-quick(8) has it."""

WIREGUARD_OVERHEAD: Final = 32
"""Bytes that a data message has besides the packet (WireGuard whitepaper §5.4.6)."""

PADDING: Final = 16
"""Packets are padded to a multiple of this many bytes (§5.4.6)."""

OUTER_HEADERS: Final = 40 + 8 + WIREGUARD_OVERHEAD
"""Bytes around a packet in the worst case: IPv6, UDP, WireGuard."""

LEAST_INTERFACE_MTU: Final = 1280
"""Below it Linux takes IPv6 away from an interface (RFC 8200 §5)."""


def data_size(mtu: int) -> int:
    """Return the UDP payload of a full packet."""
    return mtu + WIREGUARD_OVERHEAD


def peer_mtu(limit: int | None, bound: int) -> int:
    """Return the largest packet for a peer.

    Args:
        limit: UDP payload that its path carries; `None`: whatever is asked of it.
        bound: MTU of the interface.
    """
    if limit is None or limit >= data_size(bound):
        return bound
    fits = limit - WIREGUARD_OVERHEAD
    return fits - fits % PADDING


def interface_mtu(underlay: int | None, bound: int) -> int:
    """Return the interface's MTU: what fits the way out of this host, whichever the family.

    Args:
        underlay: MTU of the narrowest interface that has a default route; `None`: not known.
        bound: what the operator allows (`KBWG_MTU`).
    """
    if underlay is None:
        return bound
    return min(bound, max(LEAST_INTERFACE_MTU, underlay - OUTER_HEADERS))
