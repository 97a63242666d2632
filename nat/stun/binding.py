"""One mapping, seen by one STUN server: asked for, kept alive, watched (RFC 8489 §6.2.1).

How long a mapping lives without traffic, and where that comes from: RFC 4787 §4.3 REQ-5 promises
two minutes and recommends five; Linux's conntrack keeps an unanswered UDP flow 30 s and an
answered one 120 s; Tailscale asks again every 20 to 26 s and WireGuard's persistent keepalive is
25 s, both against NATs that stop at 30 s. So `KEEPALIVE` stays below 30 s, jitter included.
"""

from dataclasses import dataclass
from random import Random
from typing import Final, assert_never

from ..candidate import is_reachable_address
from ..errors import StunError
from ..machine import Datagram, Endpoint
from . import message as stun

FIRST_RTO: Final = 0.1
"""Seconds before the first retransmission. RFC 8489 §6.2.1 says 0.5 at least, for an unknown
network; a lost first packet must not cost that long, and the doubling soon makes up for it."""

MAX_RTO: Final = 1.6
"""Longest pause between retransmissions, seconds: where the doubling stops, because a mapping
that lapses unseen costs more than a datagram."""

MAX_REQUESTS: Final = 7
"""Requests of one transaction (RFC 8489 §6.2.1, Rc); with our pauses it fails after 6.3 s."""

KEEPALIVE: Final = (20.0, 26.0)
"""Seconds between transactions, drawn anew each time: under the 30 s of the shortest NAT
mappings, and never in step with other hosts."""

FIRST_RETRY: Final = 2.0
"""Seconds until a server that did not answer is asked again; doubles each time."""

LAST_RETRY: Final = 30.0
"""Longest pause between transactions with a server that does not answer, seconds."""

MISSES: Final = 3
"""Transactions in a row that may fail until the mapping is no longer believed: between 45 and
51 s after it was last confirmed, by when a NAT that forgets early has forgotten it."""

_TRANSACTION_ID: Final = slice(8, stun.HEADER_SIZE)
"""Where the transaction id stands in a message (RFC 8489 §5)."""


@dataclass(slots=True)
class _Asking:
    """A transaction is in flight."""

    transaction_id: stun.TransactionId
    deadline: float
    rto: float
    requests: int = 1


@dataclass(slots=True)
class _Resting:
    """The next transaction begins at `until`."""

    until: float


class Binding:
    """The mapped address of `base` as `server` sees it; part of a `Gatherer`.

    Args:
        base: local endpoint that requests leave from.
        server: STUN server.
        rng: source of transaction ids and of the keepalive's jitter.
        now: current time in seconds; the first request leaves at once.
    """

    def __init__(self, base: Endpoint, server: Endpoint, *, rng: Random, now: float) -> None:
        self._base = base
        self._server = server
        self._rng = rng
        self._outbox: list[Datagram] = []
        self._misses = 0
        self._confirmed_at: float | None = None
        self.mapped: Endpoint | None = None
        """The mapped address; `None`: not known, or not believed any more."""
        self._state: _Asking | _Resting = self._ask(now)

    @property
    def failing(self) -> bool:
        """Whether the last transaction went unanswered."""
        return self._misses > 0

    @property
    def asking(self) -> bool:
        """Whether an answer may still come."""
        return isinstance(self._state, _Asking)

    def age(self, now: float) -> float:
        """Return the seconds since the server last confirmed the mapping; infinite: never."""
        return float("inf") if self._confirmed_at is None else now - self._confirmed_at

    def restart(self, now: float) -> None:
        """Ask again at once; an answer to what was asked before does not count any more."""
        self._state = self._ask(now)

    def wants(self, datagram: Datagram) -> bool:
        """Whether a datagram, already known to be from the server, answers our request."""
        match self._state:
            case _Asking(transaction_id=expected):
                payload = datagram.payload
                return stun.is_stun(payload) and payload[_TRANSACTION_ID] == expected
            case _Resting():
                return False
            case _:
                assert_never(self._state)

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take in a datagram from the server; what answers nothing is ignored."""
        if not self.wants(datagram):
            return
        mapped = _mapped_address(datagram.payload)
        # The base's family: an address that only a translator could reach is no candidate of it.
        if mapped is None or mapped.ip.version != self._base.ip.version:
            return
        self.mapped = mapped
        self._misses = 0
        self._confirmed_at = now
        self._state = _Resting(now + self._rng.uniform(*KEEPALIVE))

    def handle_timeout(self, now: float) -> None:
        """Retransmit, give a transaction up, or begin the next one."""
        match self._state:
            case _Resting(until=until):
                if now >= until:
                    self._state = self._ask(now)
            case _Asking(deadline=deadline, requests=requests) as asking:
                if now < deadline:
                    return
                if requests == MAX_REQUESTS:
                    self._miss(now)
                    return
                self._send(asking.transaction_id)
                asking.requests += 1
                asking.rto = min(2 * asking.rto, MAX_RTO)
                asking.deadline = now + asking.rto
            case _:
                assert_never(self._state)

    def next_timeout(self) -> float:
        """When to call `handle_timeout` next."""
        match self._state:
            case _Asking(deadline=deadline):
                return deadline
            case _Resting(until=until):
                return until
            case _:
                assert_never(self._state)

    def datagrams_to_send(self) -> list[Datagram]:
        """Take the requests that are due."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def _ask(self, now: float) -> _Asking:
        transaction_id = self._rng.randbytes(stun.TRANSACTION_ID_SIZE)
        self._send(transaction_id)
        return _Asking(transaction_id, deadline=now + FIRST_RTO, rto=FIRST_RTO)

    def _miss(self, now: float) -> None:
        self._misses += 1
        if self._misses >= MISSES:
            self.mapped = None
        # The exponent is bounded because 2.0**1024 overflows, after some hours without a server.
        doublings = min(self._misses - 1, 10)
        self._state = _Resting(now + min(FIRST_RETRY * 2**doublings, LAST_RETRY))

    def _send(self, transaction_id: stun.TransactionId) -> None:
        payload = stun.binding_request(transaction_id)
        self._outbox.append(Datagram(self._base, self._server, payload))


def _mapped_address(payload: bytes) -> Endpoint | None:
    """Return the mapped address of a success response that can be believed."""
    try:
        message = stun.parse(payload)
    except StunError:
        return None
    mapped = message.mapped_address
    if message.message_class is not stun.MessageClass.SUCCESS or message.unknown_required:
        return None
    if mapped is None or mapped.port == 0 or not is_reachable_address(mapped.ip):
        return None
    return mapped
