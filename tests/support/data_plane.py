"""WireGuard as far as a path matters: roaming, counters, keepalives, handshakes (no cryptography)."""

import math
from dataclasses import dataclass

from nat.candidate import CandidateType
from nat.machine import Datagram, Endpoint
from nat.path.events import (
    DataReport,
    EvidenceWanted,
    PathReasserted,
    PathSelected,
    PeerId,
    TraversalEvent,
)
from nat.stun.message import is_stun
from nat.traversal import Traversal

from .relays import RelayLinks

INITIATION, RESPONSE, DATA = b"\x01", b"\x02", b"\x04"
SIZES = {INITIATION: 148, RESPONSE: 92}
EMPTY_SIZE, DATA_SIZE = 32, 128

KEEPALIVE = 25.0
PASSIVE_KEEPALIVE = 10.0
REKEY_AFTER = 120.0
REKEY_TIMEOUT = 5.0
DEAD_AFTER = 15.0
REJECT_AFTER = 180.0


@dataclass
class _Clock:
    """Deadlines of one session; infinity: not running."""

    keepalive: float = math.inf
    passive: float = math.inf
    handshake: float = math.inf
    dead: float = math.inf
    data: float = math.inf


class WireGuard:
    """One peer of one interface.

    Args:
        base: the local endpoint that datagrams leave from.
        opens: whether this side makes the handshakes.
    """

    def __init__(self, base: Endpoint, *, opens: bool) -> None:
        self.base = base
        self.endpoint: Endpoint | None = None
        self.received_bytes = 0
        self.sent_bytes = 0
        self.handshake_at = -math.inf
        self.sent = 0
        self.received: list[tuple[float, int]] = []
        """When data came in, and its number."""
        self._opens = opens
        self._interval = math.inf
        self._clock = _Clock()
        self._outbox: list[Datagram] = []

    @property
    def live(self) -> bool:
        return self.handshake_at > -math.inf

    def set_endpoint(self, endpoint: Endpoint, now: float) -> None:
        """Send there from now on; the opening side pokes."""
        self.endpoint = endpoint
        if self._clock.keepalive == math.inf:
            self._clock.keepalive = now + KEEPALIVE
        if not self.live and self._opens:
            self._initiate(now)
        elif self._opens:
            self._send(DATA, EMPTY_SIZE, now)

    def send_data_every(self, interval: float, now: float) -> None:
        """Have traffic from now on; infinity: none."""
        self._interval = interval
        self._clock.data = now + interval

    def receive(self, datagram: Datagram, now: float) -> None:
        self.received_bytes += len(datagram.payload)
        self.endpoint = datagram.source
        self._clock.dead = math.inf
        kind = datagram.payload[:1]
        if kind == INITIATION:
            self.handshake_at = now
            self._send(RESPONSE, SIZES[RESPONSE], now)
        elif kind == RESPONSE:
            self.handshake_at = now
            self._clock.handshake = math.inf
            self._send(DATA, EMPTY_SIZE, now)
        elif len(datagram.payload) > EMPTY_SIZE:
            self.received.append((now, int.from_bytes(datagram.payload[1:9], "big")))
            self._clock.passive = min(self._clock.passive, now + PASSIVE_KEEPALIVE)

    def handle_timeout(self, now: float) -> None:
        clock = self._clock
        if now >= clock.data:
            clock.data = now + self._interval
            self._send_data(now)
        if now >= clock.dead or now >= clock.handshake:
            self._initiate(now)
        if now >= clock.passive or now >= clock.keepalive:
            if self.live:
                self._send(DATA, EMPTY_SIZE, now)
            elif self._opens:
                self._initiate(now)
            clock.passive = math.inf
            clock.keepalive = now + KEEPALIVE

    def next_timeout(self) -> float:
        clock = self._clock
        return min(clock.keepalive, clock.passive, clock.handshake, clock.dead, clock.data)

    def datagrams_to_send(self) -> list[Datagram]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def report(self, now: float) -> DataReport:
        age = now - self.handshake_at if self.live else None
        return DataReport(self.endpoint, self.received_bytes, self.sent_bytes, age)

    def _send_data(self, now: float) -> None:
        if self.endpoint is None:
            return
        if not self.live or now - self.handshake_at > REJECT_AFTER:
            if self._clock.handshake == math.inf:
                self._initiate(now)
            return
        if self._opens and now - self.handshake_at > REKEY_AFTER:
            self._initiate(now)
        self._clock.dead = min(self._clock.dead, now + DEAD_AFTER)
        self._send(DATA, DATA_SIZE, now)

    def _initiate(self, now: float) -> None:
        self._clock.dead = math.inf
        self._clock.handshake = now + REKEY_TIMEOUT
        self._send(INITIATION, SIZES[INITIATION], now)

    def _send(self, kind: bytes, size: int, now: float) -> None:
        if self.endpoint is None:
            return
        number = 0
        if size == DATA_SIZE:
            self.sent += 1
            number = self.sent
        payload = (kind + number.to_bytes(8, "big")).ljust(size, b"\0")
        self.sent_bytes += size
        self._clock.passive = math.inf
        self._clock.keepalive = now + KEEPALIVE
        self._outbox.append(Datagram(self.base, self.endpoint, payload))


class Sidecar:
    """A traversal with a WireGuard beside it on one port; polls it twice a second. A `Machine`."""

    POLL = 0.5
    HAND_OVER = 1.0
    """Seconds after a change of the path in which data of the old one still comes in."""
    REASSERT = 0.002
    """Seconds until the endpoint is set again after each of it (`anchors.md` C.4)."""

    def __init__(
        self,
        traversal: Traversal,
        peer: PeerId,
        wireguard: WireGuard,
        links: RelayLinks | None = None,
    ) -> None:
        self.traversal = traversal
        self.wireguard = wireguard
        self.links = links
        self.agent_alive = True
        self._peer = peer
        self._poll_at = self.POLL
        self._now = 0.0
        self._wanted: Endpoint | None = None
        self._hand_over_until = -math.inf
        self._reassert_at = math.inf

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        self._now = now
        if self.links is not None and self.links.takes(datagram):
            return
        if not is_stun(datagram.payload):
            self.receive_data(datagram, now)
        elif self.agent_alive:
            self.traversal.receive_datagram(datagram, now)

    def receive_data(self, datagram: Datagram, now: float) -> None:
        """Hand data to WireGuard, which follows it; back if it belongs to the old path."""
        self.wireguard.receive(datagram, now)
        late = now < self._hand_over_until and self.wireguard.endpoint != self._wanted
        if self.agent_alive and late:
            self._reassert_at = min(self._reassert_at, now + self.REASSERT)

    def handle_timeout(self, now: float) -> None:
        self._now = now
        if now >= self._reassert_at:
            self._reassert_at = math.inf
            self.wireguard.endpoint = self._wanted
        self.wireguard.handle_timeout(now)
        if not self.agent_alive:
            return
        if now >= self._poll_at:
            self._poll_at = now + self.POLL
            if self._peer in self.traversal.peers:
                self.traversal.report_data(self._peer, self.wireguard.report(now), now)
        if (due := self.traversal.next_timeout()) is not None and due <= now:
            self.traversal.handle_timeout(now)

    def next_timeout(self) -> float:
        times = [self.wireguard.next_timeout()]
        if self.agent_alive:
            times += [self._poll_at, self._reassert_at, self.traversal.next_timeout() or math.inf]
        return min(times)

    def datagrams_to_send(self) -> list[Datagram]:
        stun = self.traversal.datagrams_to_send()
        data = self.wireguard.datagrams_to_send()
        if self.links is not None:
            self.links.flush()
            data = [datagram for datagram in data if not self.links.carries(datagram)]
            data += self.links.datagrams_to_send()
        return (stun if self.agent_alive else []) + data

    def next_event(self) -> TraversalEvent | None:
        event = self.traversal.next_event() if self.agent_alive else None
        match event:
            case PathSelected(path=path, previous=previous):
                if previous is None or previous.data_endpoint != path.data_endpoint:
                    self.wireguard.set_endpoint(path.data_endpoint, self._now)
                    self._wanted = path.data_endpoint
                    self._hand_over_until = self._now + self.HAND_OVER
                if path.local.type is not CandidateType.RELAYED:
                    self.wireguard.base = path.base
            case PathReasserted(path=path):
                self.wireguard.set_endpoint(path.data_endpoint, self._now)
                self._hand_over_until = self._now + self.HAND_OVER
            case EvidenceWanted():
                self.traversal.report_data(self._peer, self.wireguard.report(self._now), self._now)
            case None:
                pass
            case _ if self.links is not None:
                self.links.handle(event)
            case _:
                pass
        return event
