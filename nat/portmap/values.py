"""What all port mapping protocols have in common: who is asked, for what, and what may be answered."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..candidate import is_reachable_address
from ..machine import Endpoint, IPAddress

SERVER_PORT: Final = 5351
"""UDP port of PCP and NAT-PMP servers (RFC 6887 §19.1, RFC 6886 §3.1)."""

ANNOUNCEMENT_PORT: Final = 5350
"""UDP port on which clients listen for a gateway's announcements (RFC 6887 §14.1.1)."""

UDP: Final = 17
"""IANA protocol number of UDP, the only one that is mapped."""

MIN_LIFETIME: Final = 60.0
"""Seconds of the shortest lifetime that is worth a mapping. RFC 6887 §15 asks servers for 120 at
least; one that grants less would have us renew without end."""

MAX_LIFETIME: Final = 86400.0
"""Seconds of the longest lifetime that is believed (RFC 6887 §15: 24 hours)."""


class MappingProtocol(Enum):
    """How a gateway is asked for a mapping; in the order in which they are preferred."""

    PCP = "pcp"
    NAT_PMP = "nat-pmp"
    UPNP = "upnp"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A default gateway, as well as it can be told from others with the same address.

    Attributes:
        hardware_address: of its interface; `None`: not resolved yet, or it has none.
    """

    ip: IPAddress
    interface: str
    hardware_address: str | None = None


@dataclass(frozen=True, slots=True)
class Uplink:
    """A local endpoint and the gateway through which it reaches the internet."""

    gateway: Gateway
    base: Endpoint


@dataclass(frozen=True, slots=True)
class Granted:
    """A gateway has made or renewed a mapping.

    Attributes:
        external: where the gateway takes datagrams for us.
        lifetime: seconds that it promises to.
    """

    external: Endpoint
    lifetime: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A gateway speaks a protocol, and makes no mapping.

    Attributes:
        reason: in the words of the protocol.
        retry_after: seconds that it wants to be left in peace; `None`: it does not say.
    """

    reason: str
    retry_after: float | None = None


def believable(granted: Granted, base: Endpoint) -> Granted | Refused:
    """Return what of a grant is used; a gateway may be hostile, or broken.

    The external address must be a unicast one of our family that a peer can have. A *private* one
    is kept: there is another NAT behind this one, but whoever shares that network (two homes of
    one carrier) reaches us by it. `is_private_address` tells those, so that they rank last.
    """
    external = granted.external
    if external.ip.version != base.ip.version or not is_reachable_address(external.ip):
        return Refused(f"the gateway offers an address that no peer can send to: {external.ip}")
    if external.port == 0:
        return Refused("the gateway offers port 0")
    if granted.lifetime < MIN_LIFETIME:
        return Refused(f"the gateway offers a lifetime of only {granted.lifetime:g} s")
    return Granted(external, min(granted.lifetime, MAX_LIFETIME))
