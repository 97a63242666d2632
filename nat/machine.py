"""The sans-IO contract of every protocol machine in `nat`.

A machine is driven by its owner, who alone has sockets and a clock:

1. mutate it once: `receive_datagram`, `handle_timeout` or a method of its own;
2. drain it: send `datagrams_to_send()`, handle `next_event()` until `None`;
3. read `next_timeout()` and call `handle_timeout` no earlier than that.

All times are seconds on one monotonic clock that the caller chooses
(`asyncio.AbstractEventLoop.time` in production, a variable in tests).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, TypeVar

IPAddress = IPv4Address | IPv6Address

EventT_co = TypeVar("EventT_co", covariant=True)


@dataclass(frozen=True, slots=True, order=False)
class Endpoint:
    """A UDP transport address."""

    ip: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram, received or to be sent.

    `source` of an outgoing datagram is a local address and the shared port: the socket sends
    from exactly that address, so a check tests the pair that it names (RFC 8445 §7.2.4).

    Attributes:
        ttl: hops (IPv4 TTL, IPv6 hop limit) that an outgoing one lives; `None`: the usual number.
        dont_fragment: an outgoing one arrives in one piece or not at all, whatever is believed of
            the path (RFC 8899 §4.1); a relay heeds it as far as it can.
    """

    source: Endpoint
    destination: Endpoint
    payload: bytes
    ttl: int | None = None
    dont_fragment: bool = False

    def __repr__(self) -> str:
        return f"Datagram({self.source} -> {self.destination}, {len(self.payload)} bytes)"


class Machine(Protocol[EventT_co]):
    """A sans-IO protocol machine."""

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Handle one datagram. Never raises on what a peer sent."""

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due at `now`. Calling early or twice is harmless."""

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next; `None`: nothing is pending."""

    def datagrams_to_send(self) -> list[Datagram]:
        """Take the datagrams queued since the last call."""

    def next_event(self) -> EventT_co | None:
        """Take the oldest event that the owner has not seen; `None`: no more."""
