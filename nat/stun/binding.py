"""One mapping, seen by one STUN server: asked for, kept alive, watched (RFC 8489 §6.2.1)."""

from random import Random
from typing import Final

from ..candidate import is_reachable_address
from ..errors import StunError
from ..machine import Datagram, Endpoint
from . import message as stun

FIRST_RTO: Final = 0.1
"""Seconds before the first retransmission. RFC 8489 §6.2.1 says 0.5 at least, for an unknown
network; a lost first packet must not cost that long, and the doubling soon makes up for it."""

MAX_RTO: Final = 1.6
"""Longest pause between retransmissions, seconds."""

MAX_REQUESTS: Final = 7
"""Requests of one transaction (RFC 8489 §6.2.1, Rc)."""

KEEPALIVE: Final = (20.0, 26.0)
"""Seconds between transactions, drawn anew each time: under the 30 s of the shortest NAT
mappings, and never in step with other hosts."""

LAST_RETRY: Final = 30.0
"""Longest pause between transactions with a server that does not answer, seconds."""

MISSES: Final = 3
"""Transactions in a row that may fail until the mapping is no longer believed."""

_TRANSACTION_ID: Final = slice(8, stun.HEADER_SIZE)
"""Where the transaction id stands in a message (RFC 8489 §5)."""


class Binding:
    """The mapped address of `base` as `server` sees it; part of a `Gatherer`.

    Args:
        base: local endpoint that requests leave from.
        server: STUN server.
        rng: source of transaction ids.
        now: current time in seconds; the first request leaves at once.
    """

    def __init__(self, base: Endpoint, server: Endpoint, *, rng: Random, now: float) -> None:
        self._base = base
        self._server = server
        self._rng = rng
        self._outbox: list[Datagram] = []
        self._transaction: bytes | None = None
        self._requests = 0
        self._rto = FIRST_RTO
        self._deadline = now
        self._misses = 0
        self.mapped: Endpoint | None = None
        """The mapped address; `None`: not known, or not believed any more."""
        self._begin(now)

    @property
    def failing(self) -> bool:
        """Whether the last transaction went unanswered."""
        return self._misses > 0

    def restart(self, now: float) -> None:
        """Ask again at once."""
        self._begin(now)

    def wants(self, datagram: Datagram) -> bool:
        """Whether a datagram, already known to be from the server, answers our request."""
        payload = datagram.payload
        return stun.is_stun(payload) and payload[_TRANSACTION_ID] == self._transaction

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Take in a datagram from the server; what answers nothing is ignored."""
        if not self.wants(datagram):
            return
        try:
            message = stun.parse(datagram.payload)
        except StunError:
            return
        mapped = message.mapped_address
        if message.message_class is not stun.MessageClass.SUCCESS or mapped is None:
            return
        if not is_reachable_address(mapped.ip) or mapped.port == 0:
            return
        self.mapped = mapped
        self._misses = 0
        self._transaction = None
        self._deadline = now + self._rng.uniform(*KEEPALIVE)

    def handle_timeout(self, now: float) -> None:
        """Retransmit, give a transaction up, or begin the next one."""
        if now < self._deadline:
            return
        if self._transaction is None:
            self._begin(now)
        elif self._requests < MAX_REQUESTS:
            self._request(now)
        else:
            self._transaction = None
            self._misses += 1
            if self._misses >= MISSES:
                self.mapped = None
            self._deadline = now + min(2.0**self._misses, LAST_RETRY)

    def next_timeout(self) -> float:
        """When to call `handle_timeout` next."""
        return self._deadline

    def datagrams_to_send(self) -> list[Datagram]:
        """Take the requests that are due."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def _begin(self, now: float) -> None:
        self._transaction = self._rng.randbytes(stun.TRANSACTION_ID_SIZE)
        self._requests = 0
        self._rto = FIRST_RTO
        self._request(now)

    def _request(self, now: float) -> None:
        assert self._transaction is not None
        payload = stun.binding_request(self._transaction)
        self._outbox.append(Datagram(self._base, self._server, payload))
        self._requests += 1
        self._deadline = now + self._rto
        self._rto = min(2 * self._rto, MAX_RTO)
