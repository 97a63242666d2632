"""One TURN server as a relay: its allocation, what is granted through it, and how near it is."""

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from ..machine import Endpoint, IPAddress
from .allocation import Allocation
from .events import Trouble
from .server import TurnServer

NEARER_SHARE: Final = 0.2
"""A server must be nearer by this share of the round-trip time …"""

NEARER_STEP: Final = 0.01
"""… and by this many seconds to displace one that relays: all its paths end with it."""


@dataclass(frozen=True, slots=True)
class RelayWishes:
    """What is wanted of the relayed addresses.

    Attributes:
        permissions: (relayed address, address that may send to it).
        channels: (relayed address, peer).
    """

    permissions: AbstractSet[tuple[Endpoint, IPAddress]] = frozenset()
    channels: AbstractSet[tuple[Endpoint, Endpoint]] = frozenset()


@dataclass(frozen=True, slots=True)
class RelayReport:
    """A server as shown to a person.

    Attributes:
        server: as the operator named it.
        relayed: relayed transport addresses; empty: it stands by, or does not work.
        rtt: round-trip time in seconds, as last measured.
        trouble: why it does not work.
    """

    server: TurnServer
    relayed: tuple[Endpoint, ...]
    rtt: float | None
    trouble: Trouble | None


@dataclass(slots=True)
class Relay:
    """One server; part of `Relays`.

    Attributes:
        named: the server that the operator named; another one after a redirection.
        hops: redirections since then.
        connection: whether the owner has been asked for a connection.
        chosen: whether an allocation is wanted.
        measured: round-trip time in seconds on an earlier connection.
        trouble: why it does not work; `None` when it has answered since.
        permitted: addresses that the allocation was asked to permit.
        bound: peers that it was asked to give a channel.
    """

    allocation: Allocation
    named: TurnServer
    hops: int = 0
    connection: bool = False
    chosen: bool = False
    measured: float | None = None
    trouble: Trouble | None = None
    permitted: set[IPAddress] = field(default_factory=set)
    bound: set[Endpoint] = field(default_factory=set)

    @property
    def rtt(self) -> float | None:
        """Round-trip time in seconds, as last measured."""
        return self.allocation.rtt or self.measured

    @property
    def works(self) -> bool:
        """Whether it answers on the present connection, and nothing is wrong with it."""
        return self.trouble is None and self.allocation.rtt is not None

    @property
    def distance(self) -> tuple[int, float]:
        """The order of preference: UDP before TCP before TLS, then the nearer."""
        rtt = self.rtt
        if rtt is None:
            rtt = math.inf
        elif self.allocation.relayed:
            rtt -= max(NEARER_STEP, NEARER_SHARE * rtt)
        return self.named.transport.rank, rtt

    def grant(self, wishes: RelayWishes, now: float) -> None:
        """Bring permissions and channels in line with what is wanted."""
        ours = self.allocation.relayed
        permitted = {ip for relayed, ip in wishes.permissions if relayed in ours}
        bound = {remote for relayed, remote in wishes.channels if relayed in ours}
        for ip in permitted - self.permitted:
            self.allocation.permit(ip, now)
        for ip in self.permitted - permitted:
            self.allocation.forbid(ip)
        for remote in bound - self.bound:
            self.allocation.bind(remote, now)
        for remote in self.bound - bound:
            self.allocation.unbind(remote, now)
        self.permitted, self.bound = permitted, bound

    def report(self) -> RelayReport:
        """Describe it for a person."""
        return RelayReport(self.named, self.allocation.relayed, self.rtt, self.trouble)
