"""What one peer is sent: checks, answers and probes, each with its urgency."""

from dataclasses import dataclass
from random import Random

from ..machine import Datagram
from ..pacer import Urgency
from .checks import Checks
from .openers import Openers
from .pair import Pair
from .schedule import hunt_interval
from .selection import Selection


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A datagram with what a pacer needs to know of it."""

    datagram: Datagram
    urgency: Urgency


class Sender:
    """Makes the datagrams for one peer; part of a `PathAgent`.

    Args:
        checks: encodes them, and remembers what is in flight.
        selection: says what nominates.
        openers: says which checks live too short to arrive.
        rng: source of jitter.
    """

    def __init__(
        self, *, checks: Checks, selection: Selection, openers: Openers, rng: Random
    ) -> None:
        self._checks = checks
        self._selection = selection
        self._openers = openers
        self._rng = rng
        self._nominated = 0
        self._outbox: list[Outgoing] = []

    def check(self, pair: Pair, now: float, *, connected: bool, was_connected: bool) -> None:
        """Check a pair, and note when it is due again.

        Args:
            pair: to be checked.
            now: current time in seconds.
            connected: whether the peer has a path.
            was_connected: whether it ever had one: then it knows us, and needs no openers.
        """
        nomination = self._selection.nomination(pair)
        payload = self._request(pair, nomination, now)
        ttl = None if was_connected else self._openers.ttl(pair, now)
        urgency = self._urgency(pair, nomination)
        pair.sent(self._interval(pair, connected=connected), now)
        datagram = Datagram(pair.key.base, pair.key.remote, payload, ttl)
        self._outbox.append(Outgoing(datagram, urgency))

    def probe(self, pair: Pair, size: int, now: float) -> None:
        """Send a check of `size` bytes that must arrive in one piece."""
        payload = self._request(pair, self._selection.nomination(pair), now, size)
        datagram = Datagram(pair.key.base, pair.key.remote, payload, dont_fragment=True)
        self._outbox.append(Outgoing(datagram, Urgency.KEEP))

    def respond(self, request: Datagram, payload: bytes) -> None:
        """Answer a datagram from where it came to."""
        response = Datagram(request.destination, request.source, payload)
        self._outbox.append(Outgoing(response, Urgency.ANSWER))

    def take(self) -> list[Outgoing]:
        """Take what was made since the last call."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def _request(
        self, pair: Pair, nomination: int | None, now: float, size: int | None = None
    ) -> bytes:
        if nomination is not None:
            self._selection.nominator.sent()
        return self._checks.request(pair, nomination, now, size)

    def _urgency(self, pair: Pair, nomination: int | None) -> Urgency:
        if nomination is not None and nomination != self._nominated:
            self._nominated = nomination
            return Urgency.NOMINATE
        if pair.valid or pair.heard_at is not None:
            return Urgency.KEEP
        return Urgency.HUNT if pair.attempt else Urgency.FIRST

    def _interval(self, pair: Pair, *, connected: bool) -> float:
        if connected:
            return hunt_interval(pair.attempt, self._rng)
        return self._openers.interval(pair, self._rng)
