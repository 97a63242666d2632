"""What a client asks of a TURN server, as values: whatever the transaction and the credentials."""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from ..machine import Endpoint, IPAddress
from ..stun.attributes import TransactionId
from ..stun.wire import Method
from . import message as turn


class Families(Enum):
    """Which relayed addresses to ask for (RFC 8656 §7.1)."""

    BOTH = "both"
    """IPv4 and IPv6 in one allocation; a server without IPv6, or from before it, gives IPv4."""

    IPV6 = "ipv6"
    """For a server that has no IPv4."""

    DEFAULT = "default"
    """Whatever the server gives to who says nothing; for servers that refuse the attributes."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A Binding request: is it there, and how far away? It also keeps NATs and sessions alive."""


@dataclass(frozen=True, slots=True)
class Allocate:
    """RFC 8656 §7."""

    families: Families


@dataclass(frozen=True, slots=True)
class Refresh:
    """RFC 8656 §8."""


@dataclass(frozen=True, slots=True)
class Release:
    """A Refresh to a lifetime of nothing (RFC 8656 §8.1)."""


@dataclass(frozen=True, slots=True)
class Permit:
    """RFC 8656 §10: all of these addresses, or none of them."""

    ips: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """RFC 8656 §12."""

    remote: Endpoint
    channel: int


Request = Measure | Allocate | Refresh | Release | Permit | Bind


def describe(request: Request, transaction_id: TransactionId) -> tuple[Method, turn.Values]:
    """Return the method and the attributes of a request."""
    match request:
        case Measure():
            return Method.BINDING, []
        case Allocate(families):
            return Method.ALLOCATE, [turn.requested_transport(), *_families(families)]
        case Refresh():
            return Method.REFRESH, []
        case Release():
            return Method.REFRESH, [turn.lifetime(0)]
        case Permit(ips):
            # The port is ignored: permissions are for addresses (RFC 8656 §9).
            peers = [Endpoint(ip, 0) for ip in ips]
            return Method.CREATE_PERMISSION, turn.peer_addresses(peers, transaction_id)
        case Bind(remote, channel):
            peer = turn.peer_addresses([remote], transaction_id)
            return Method.CHANNEL_BIND, [turn.channel_number(channel), *peer]
        case _:
            assert_never(request)


def _families(families: Families) -> turn.Values:
    match families:
        case Families.BOTH:
            return [turn.additional_family(turn.Family.IPV6)]
        case Families.IPV6:
            return [turn.requested_family(turn.Family.IPV6)]
        case Families.DEFAULT:
            return []
