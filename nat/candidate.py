"""Candidates (RFC 8445 §5.1) and their text form (RFC 8839 §5.1, without `candidate:`)."""

import ipaddress
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from aioice.candidate import Candidate as SdpCandidate
from aioice.candidate import candidate_foundation

from .errors import CandidateError
from .machine import Endpoint, IPAddress

COMPONENT: Final = 1
"""WireGuard has one component: there is no RTCP (RFC 8445 §4)."""

DEFAULT_LOCAL_PREFERENCE: Final = 65535
"""Local preference of a host with a single address (RFC 8445 §5.1.2.1)."""


class CandidateType(Enum):
    """Where a candidate's address comes from, in the words of RFC 8839 §5.1."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"

    @property
    def rank(self) -> int:
        """0 for the best kind; host < srflx < prflx < relay, the order of a path's kind."""
        return _RANKS[self]


_RANKS: Final = {kind: rank for rank, kind in enumerate(CandidateType)}

TYPE_PREFERENCE: Final = {
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}
"""Recommended type preferences (RFC 8445 §5.1.2.2)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transport address at which an agent may be reached (RFC 8445 §5.1.1).

    Attributes:
        type: where the address comes from.
        endpoint: the address that a remote agent sends to.
        priority: 32-bit priority (RFC 8445 §5.1.2).
        foundation: same for candidates that share type, base and server (RFC 8445 §5.1.1.3).
        base: the local transport address that we send from; equals `endpoint` for a host
            candidate and for every remote candidate.
    """

    type: CandidateType
    endpoint: Endpoint
    priority: int
    foundation: str
    base: Endpoint

    def to_sdp(self) -> str:
        """Return the candidate attribute's value, without the `candidate:` prefix.

        The base is not told: it says nothing that a check needs (RFC 8839 §5.1 allows
        `raddr 0.0.0.0 rport 0`), and a LAN address is already a candidate of its own.
        """
        return SdpCandidate(
            foundation=self.foundation,
            component=COMPONENT,
            transport="udp",
            priority=self.priority,
            host=str(self.endpoint.ip),
            port=self.endpoint.port,
            type=self.type.value,
        ).to_sdp()


def compute_priority(kind: CandidateType, local_preference: int = DEFAULT_LOCAL_PREFERENCE) -> int:
    """Return the priority of a candidate (RFC 8445 §5.1.2.1)."""
    # priority = (2^24)*(type preference) + (2^8)*(local preference) + (256 - component ID)
    return (TYPE_PREFERENCE[kind] << 24) + (local_preference << 8) + (256 - COMPONENT)


def local_candidate(
    kind: CandidateType,
    endpoint: Endpoint,
    base: Endpoint,
    local_preference: int = DEFAULT_LOCAL_PREFERENCE,
) -> Candidate:
    """Build a candidate of our own, with its priority and foundation."""
    foundation = candidate_foundation(kind.value, "udp", str(base.ip))[:8]
    return Candidate(kind, endpoint, compute_priority(kind, local_preference), foundation, base)


def parse_candidate(text: str) -> Candidate:
    """Decode a remote candidate.

    Raises:
        CandidateError: not a candidate, not UDP, another component, or an address that must
            never be tried (unspecified, loopback, multicast, broadcast, link-local).
    """
    try:
        sdp = SdpCandidate.from_sdp(text)
        kind = CandidateType(sdp.type)
        ip = ipaddress.ip_address(sdp.host)
    except (ValueError, IndexError, AssertionError) as error:
        raise CandidateError(f"not a candidate: {text[:80]!r}") from error
    if sdp.transport.lower() != "udp" or sdp.component != COMPONENT:
        raise CandidateError("only component 1 over UDP is used")
    if not 0 < sdp.port < 65536 or not 0 <= sdp.priority < 2**32:
        raise CandidateError("port or priority out of range")
    if not 0 < len(sdp.foundation) <= 32:
        raise CandidateError("foundation must have 1 to 32 characters")
    if not is_reachable_address(ip):
        raise CandidateError(f"{ip} is never a peer's address")
    endpoint = Endpoint(ip, sdp.port)
    return Candidate(kind, endpoint, sdp.priority, sdp.foundation, endpoint)


def is_reachable_address(ip: IPAddress) -> bool:
    """Tell whether a peer can have this address: a unicast one with more than link scope."""
    if isinstance(ip, IPv6Address) and (ip.ipv4_mapped is not None or ip.scope_id is not None):
        return False
    if isinstance(ip, IPv4Address) and (ip.is_reserved or ip in _THIS_NETWORK):
        return False
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local)


def is_private_use(ip: IPAddress) -> bool:
    """Tell whether an address means something only inside a network (RFC 1918, 6598, 4193)."""
    return any(ip.version == network.version and ip in network for network in _PRIVATE_USE)


_PRIVATE_USE: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)

_THIS_NETWORK: Final = ipaddress.IPv4Network("0.0.0.0/8")
"""RFC 1122 §3.2.1.3: "this network", never a destination."""


def is_private_address(ip: IPAddress) -> bool:
    """Tell addresses that are not of the internet, and so not the outermost one of anybody."""
    return any(ip.version == network.version and ip in network for network in _PRIVATE)


_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""RFC 1918, RFC 6598 (carriers' NATs) and RFC 4193. Not `ipaddress`'s `is_private`, for which
documentation addresses, which labs use as the internet, are private too."""
