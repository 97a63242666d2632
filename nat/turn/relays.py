"""Several TURN servers as one: the nearest relays, another stands by, the rest are let go.

All servers are connected to and measured at the start, when the network changes, when one that was
used fails, and now and then. Of each host the best transport that answers is taken, and of the
hosts the nearest `MAX_ALLOCATIONS`. The second one is there so that its relayed address has been
announced already when the first one dies.
"""

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, assert_never

from ..machine import Datagram, Endpoint
from .allocation import Allocation
from .events import (
    Allocated,
    AllocationEvent,
    AllocationLost,
    AllocationRefused,
    ChannelBound,
    ChannelLost,
    ConnectionReleased,
    ConnectionRequested,
    ConnectionStale,
    Measured,
    ReconnectRequested,
    Redirected,
    RelayChannelBound,
    RelayChannelLost,
    Relayed,
    RelayEvent,
    Trouble,
    TurnServerChanged,
)
from .relay import Relay, RelayReport, RelayWishes
from .server import TurnServer

MAX_ALLOCATIONS: Final = 2
"""Servers that relay for us at once: the nearest, and one whose address peers know already when the
nearest dies. More would only multiply pairs."""

MAX_SERVERS: Final = 12
"""Servers that are used: four hosts with three transports each."""

SETTLE: Final = 0.3
"""Seconds that the first answer waits for those of other servers, so that the nearest is chosen
and not the quickest to connect to."""

SURVEY_INTERVAL: Final = 600.0
"""Seconds after which all servers are measured anew: UDP may have become possible, another server
may have become nearer. A few datagrams and handshakes in ten minutes."""

MAX_REDIRECTIONS: Final = 3
"""Servers that send us elsewhere, one after the other, until we stop to follow."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes for the connection to a server."""

    server: TurnServer
    payload: bytes


class Relays:
    """The client of all TURN servers; part of a `Traversal`.

    Args:
        rng: source of transaction ids and jitter; cryptographic in production (RFC 8489 §5).
    """

    def __init__(self, *, rng: Random) -> None:
        self.dropped: Counter[str] = Counter()
        """What came in or was to go out and was dropped, by reason."""
        self._rng = rng
        self._relays: dict[TurnServer, Relay] = {}
        self._wishes = RelayWishes()
        self._choose_at = math.inf
        self._survey_at = math.inf
        self._received: list[Datagram] = []
        self._outbox: list[Frame] = []
        self._events: deque[RelayEvent] = deque()

    # What the owner says ----------------------------------------------------------------------

    def set_servers(self, servers: Sequence[TurnServer], now: float) -> None:
        """Replace the servers; those that stay keep their allocations."""
        wanted = tuple(dict.fromkeys(servers))[:MAX_SERVERS]
        for server, relay in list(self._relays.items()):
            if relay.named in wanted:
                continue
            if server in wanted:
                # Where another one has sent us to is named itself now.
                relay.named, relay.hops = server, 0
            else:
                self._let_go(relay, now)
                self._collect(server, relay, now)
                del self._relays[server]
        known = {relay.named for relay in self._relays.values()}
        for server in wanted:
            if server not in known and server not in self._relays:
                self._relays[server] = self._new_relay(server, named=server, hops=0)
        if wanted:
            self._survey(now)
        else:
            self._survey_at = self._choose_at = math.inf

    def connected(self, server: TurnServer, now: float) -> None:
        """Note that the connection to a server stands."""
        relay = self._relays.get(server)
        if relay is not None and relay.connection:
            relay.allocation.connected(now)
            self._collect(server, relay, now)

    def disconnected(self, server: TurnServer, now: float) -> None:
        """Note that a connection broke, or could not be made."""
        relay = self._relays.get(server)
        if relay is not None and relay.connection:
            relay.allocation.disconnected(now)
            self._collect(server, relay, now)
            self._fail(relay, relay.trouble or Trouble.DISCONNECTED, now)

    def receive(self, server: TurnServer, frame: bytes, now: float) -> None:
        """Handle a frame that came over the connection to a server."""
        relay = self._relays.get(server)
        if relay is not None and relay.connection:
            relay.allocation.receive(frame, now)
            self._collect(server, relay, now)

    def network_changed(self, now: float) -> None:
        """Measure everything: another server may be the nearest, or none may be left."""
        for server, relay in list(self._relays.items()):
            relay.allocation.probe(now)
            self._collect(server, relay, now)
        if self._relays:
            self._survey(now)

    def suspect(self, now: float) -> None:
        """See whether those that relay still know us: a path has fallen silent."""
        for server, relay in list(self._relays.items()):
            if relay.allocation.relayed:
                relay.allocation.suspect(now)
                self._collect(server, relay, now)

    def wish(self, wishes: RelayWishes, now: float) -> None:
        """Say which permissions and channels are wanted; the rest is let lapse."""
        if wishes != self._wishes:
            self._wishes = wishes
            for server, relay in list(self._relays.items()):
                relay.grant(self._wishes, now)
                self._collect(server, relay, now)

    def send(self, datagram: Datagram, now: float) -> None:
        """Have a datagram leave from its source, which is a relayed address of ours."""
        for relay in self._relays.values():
            if datagram.source in relay.allocation.relayed:
                relay.allocation.send(datagram.destination, datagram.payload, now)
                return
        self.dropped["no such relayed address"] += 1

    # What it knows ----------------------------------------------------------------------------

    @property
    def relayed(self) -> tuple[Endpoint, ...]:
        """Our relayed addresses, those of the nearest server first."""
        chosen = [relay for relay in self._relays.values() if relay.allocation.relayed]
        ranked = sorted(chosen, key=lambda relay: relay.distance)
        return tuple(relayed for relay in ranked for relayed in relay.allocation.relayed)

    def reports(self) -> tuple[RelayReport, ...]:
        """Describe the servers for a person."""
        return tuple(relay.report() for relay in self._relays.values())

    # Machine ----------------------------------------------------------------------------------

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due at `now`. Calling early or twice is harmless."""
        for server, relay in list(self._relays.items()):
            relay.allocation.handle_timeout(now)
            self._collect(server, relay, now)
        if now >= self._survey_at:
            self._survey(now)
        if now >= self._choose_at:
            self._choose(now)

    def next_timeout(self) -> float:
        """When to call `handle_timeout` next; infinity: nothing is pending."""
        times = (relay.allocation.next_timeout() for relay in self._relays.values())
        soonest = min((time for time in times if time is not None), default=math.inf)
        return min(soonest, self._choose_at, self._survey_at)

    def frames_to_send(self) -> list[Frame]:
        """Take the frames queued since the last call."""
        for relay in self._relays.values():
            self._flush(relay)
        frames, self._outbox = self._outbox, []
        return frames

    def take_received(self) -> list[Datagram]:
        """Take what peers have sent to our relayed addresses."""
        received, self._received = self._received, []
        return received

    def next_event(self) -> RelayEvent | None:
        """Take the oldest event that the owner has not seen; `None`: no more."""
        return self._events.popleft() if self._events else None

    # Inside: which servers --------------------------------------------------------------------

    def _survey(self, now: float) -> None:
        """Connect to all servers; those that answer will be chosen from."""
        self._survey_at = now + SURVEY_INTERVAL
        for server, relay in self._relays.items():
            if not relay.connection:
                relay.connection = True
                self._events.append(ConnectionRequested(server))
        if any(relay.allocation.rtt is not None for relay in self._relays.values()):
            self._choose_soon(now)

    def _choose_soon(self, now: float) -> None:
        self._choose_at = min(self._choose_at, now + SETTLE)

    def _choose(self, now: float) -> None:
        self._choose_at = math.inf
        chosen: dict[str, Relay] = {}
        for relay in sorted(self._relays.values(), key=lambda relay: relay.distance):
            if relay.works and relay.named.host not in chosen and len(chosen) < MAX_ALLOCATIONS:
                chosen[relay.named.host] = relay
        for server, relay in list(self._relays.items()):
            if relay in chosen.values():
                relay.chosen = True
                relay.allocation.want(True, now)
            elif relay.named.host in chosen or (chosen and relay.allocation.rtt is not None):
                self._let_go(relay, now)
            self._collect(server, relay, now)

    def _let_go(self, relay: Relay, now: float) -> None:
        relay.chosen = False
        relay.allocation.want(False, now)
        if relay.connection:
            self._flush(relay)
            relay.connection = False
            relay.allocation.disconnected(now)
            self._events.append(ConnectionReleased(relay.allocation.server))

    def _flush(self, relay: Relay) -> None:
        server = relay.allocation.server
        self._outbox += [Frame(server, frame) for frame in relay.allocation.frames_to_send()]

    def _fail(self, relay: Relay, trouble: Trouble, now: float) -> None:
        if relay.trouble is not trouble:
            relay.trouble = trouble
            self._events.append(TurnServerChanged(relay.named, (), trouble))
        if relay.chosen:
            relay.chosen = False
            self._survey(now)

    # Inside: what allocations say -------------------------------------------------------------

    def _collect(self, server: TurnServer, relay: Relay, now: float) -> None:
        while (event := relay.allocation.next_event()) is not None:
            self._handle(server, relay, event, now)

    def _handle(self, server: TurnServer, relay: Relay, event: AllocationEvent, now: float) -> None:
        match event:
            case Measured(rtt=rtt):
                relay.measured = rtt
                if relay.trouble in (Trouble.UNREACHABLE, Trouble.DISCONNECTED):
                    relay.trouble = None
                if not relay.chosen:
                    self._choose_soon(now)
            case Allocated(relayed=relayed):
                relay.trouble = None
                relay.grant(self._wishes, now)
                self._events.append(TurnServerChanged(relay.named, relayed, None))
                if not relay.chosen:
                    self._choose_soon(now)
            case AllocationLost(reason=Trouble.FORGOTTEN):
                pass  # it is asked for again at once
            case AllocationLost(reason=Trouble.RELEASED):
                self._events.append(TurnServerChanged(relay.named, (), None))
            case AllocationLost(reason=reason) | AllocationRefused(reason=reason):
                self._fail(relay, reason, now)
            case Redirected(server=elsewhere):
                self._redirect(server, relay, elsewhere, now)
            case ConnectionStale():
                self._reconnect(server, relay)
            case ChannelBound(relayed=ours, remote=remote, channel=channel):
                self._events.append(RelayChannelBound(server, ours, remote, channel))
            case ChannelLost(relayed=ours, remote=remote):
                self._events.append(RelayChannelLost(server, ours, remote))
            case Relayed(remote=remote, relayed=ours, payload=payload):
                self._received.append(Datagram(remote, ours, payload))
            case _:
                assert_never(event)

    def _reconnect(self, server: TurnServer, relay: Relay) -> None:
        if relay.hops and relay.trouble is Trouble.UNREACHABLE:
            # Where we were sent to is gone: ask the one who sent us again.
            self._replace(server, relay, relay.named, hops=0)
        elif relay.connection:
            self._events.append(ReconnectRequested(server))

    def _redirect(
        self, server: TurnServer, relay: Relay, elsewhere: TurnServer, now: float
    ) -> None:
        if relay.hops == MAX_REDIRECTIONS or elsewhere in self._relays:
            self._fail(relay, Trouble.UNSUPPORTED, now)
        else:
            self._replace(server, relay, elsewhere, hops=relay.hops + 1)

    def _replace(
        self, server: TurnServer, relay: Relay, successor: TurnServer, *, hops: int
    ) -> None:
        del self._relays[server]
        self._events.append(ConnectionReleased(server))
        self._relays[successor] = self._new_relay(successor, named=relay.named, hops=hops)
        self._relays[successor].connection = True
        self._events.append(ConnectionRequested(successor))

    def _new_relay(self, server: TurnServer, *, named: TurnServer, hops: int) -> Relay:
        allocation = Allocation(server, rng=self._rng, dropped=self.dropped)
        return Relay(allocation, named, hops)
