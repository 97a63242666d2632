"""An allocation and its server, with a connection between them that a test makes and breaks."""

import heapq
import pickle
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random
from typing import TypeVar

from nat.machine import Datagram, Endpoint
from nat.turn.allocation import Allocation
from nat.turn.events import Allocated, AllocationEvent, ChannelBound, ConnectionStale
from nat.turn.server import Credentials, StaticCredentials, TurnServer, TurnTransport

from .network import endpoint
from .turn_server import LOGIN, SimTurnServer

LATENCY = 0.02
RTT = 2 * LATENCY

PEER = endpoint("198.51.100.2", 42000)
OTHER = endpoint("198.51.100.3", 43000)
V6_PEER = endpoint("2001:db8:2::2", 42000)
DUAL = ("203.0.113.50", "2001:db8:50::1")
"""Addresses of a server that relays from both families."""

CREDENTIALS = StaticCredentials(LOGIN.username, LOGIN.password)

EventT = TypeVar("EventT")


class Dialogue:
    """Carries frames and datagrams between an allocation, its server and the server's peers.

    Args:
        server: the far side.
        transport: what the allocation is told that it runs over.
        credentials: what it knows.
        wanted: whether it wants an allocation.
    """

    def __init__(
        self,
        server: SimTurnServer,
        *,
        transport: TurnTransport = TurnTransport.UDP,
        credentials: Credentials | None = CREDENTIALS,
        wanted: bool = True,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.server = server
        self.dropped: Counter[str] = Counter()
        self.allocation = Allocation(
            TurnServer("turn.example.org", 3478, transport, credentials),
            rng=Random(seed),
            dropped=self.dropped,
        )
        self.events: list[tuple[float, AllocationEvent]] = []
        self.to_peers: list[tuple[float, Datagram]] = []
        self.frames: list[tuple[float, bytes]] = []
        """What the allocation has sent."""
        self.reconnects = True
        """Whether the owner makes another connection when it is asked to."""
        self.connections = 0
        self.loses: Callable[[bytes], bool] = lambda frame: False
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        if wanted:
            self.allocation.want(True, 0.0)

    def connect(self) -> None:
        self.connections += 1
        self.allocation.connected(self.now)
        self._drain()

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of a kind, oldest first."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def from_peer(self, remote: Endpoint, payload: bytes, relayed: Endpoint | None = None) -> None:
        """Let a peer send something to our relayed address."""
        destination = relayed or self.server.relayed[0]
        self.server.receive_datagram(Datagram(remote, destination, payload), self.now)
        self._drain()

    def run(self, until: float) -> None:
        """Advance time."""
        self._drain()
        while True:
            times = [self.allocation.next_timeout(), self._agenda[0][0] if self._agenda else None]
            due = min((t for t in times if t is not None), default=None)
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            while self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
            self.allocation.handle_timeout(self.now)
            self._drain()
        self.now = until

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), action))

    def _drain(self) -> None:
        client = self.connections
        for frame in self.allocation.frames_to_send():
            self.frames.append((self.now, frame))
            if not self.loses(frame):
                self._at(self.now + LATENCY, lambda f=frame: self._arrive(client, f))  # type: ignore[misc]
        for to, frame in self.server.frames_to_send():
            if to == client:
                self._at(self.now + LATENCY, lambda f=frame: self._return(client, f))  # type: ignore[misc]
        self.to_peers += [(self.now, datagram) for datagram in self.server.datagrams_to_send()]
        while (event := self.allocation.next_event()) is not None:
            self.events.append((self.now, event))
            if isinstance(event, ConnectionStale) and self.reconnects:
                self.allocation.disconnected(self.now)
                self._at(self.now, self.connect)

    def _arrive(self, client: int, frame: bytes) -> None:
        self.server.receive(client, frame, self.now)

    def _return(self, client: int, frame: bytes) -> None:
        if client == self.connections:
            self.allocation.receive(frame, self.now)


def started(*ips: str, transport: TurnTransport = TurnTransport.UDP) -> Dialogue:
    """Make an allocation that stands, a second after the connection."""
    dialogue = Dialogue(SimTurnServer(*ips, padded=transport.reliable), transport=transport)
    dialogue.connect()
    dialogue.run(1.0)
    assert len(dialogue.of(Allocated)) == 1
    return dialogue


def bound(*ips: str, remote: Endpoint = PEER) -> Dialogue:
    """Make an allocation with a channel."""
    dialogue = started(*ips)
    dialogue.allocation.bind(remote, dialogue.now)
    dialogue.run(dialogue.now + RTT)
    assert [event.remote for event in dialogue.of(ChannelBound)] == [remote]
    return dialogue


def allocation_state(dialogue: Dialogue) -> bytes:
    """Return the whole state of an allocation but for what it counts as dropped."""
    dialogue.dropped.clear()
    return pickle.dumps(dialogue.allocation)
