"""Requests in flight at one server: retransmitted, authenticated, answered or given up."""

import math
from collections import Counter, deque
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Final

from ..stun.attributes import TransactionId
from ..stun.message import TRANSACTION_ID_SIZE
from ..stun.wire import MessageClass, encode
from .authentication import Authentication
from .message import TurnError, TurnMessage
from .requests import Request, describe
from .server import Credentials

FIRST_RTO: Final = 0.5
"""Seconds before the first retransmission while the round-trip time is unknown (RFC 8489 §6.2.1)."""

MIN_RTO: Final = 0.1
"""Least seconds once it is known. RFC 8489 §6.2.1 says 500 ms for networks that nothing is known
of; a lost request would then cost half of the second that a relayed path may take."""

RTO_RTTS: Final = 2.0
"""Round trips that an answer is waited for: room for jitter (RFC 6298 §2 adds 4 deviations)."""

MAX_SENDS: Final = 7
"""Times that a request is sent (RFC 8489 §6.2.1, Rc)."""

LAST_WAIT: Final = 16
"""First RTOs that the last one has to be answered (RFC 8489 §6.2.1, Rm)."""

RELIABLE_TIMEOUT: Final = 10.0
"""Seconds that a request over TCP or TLS has to be answered. RFC 8489 §6.2.2 says 39.5, for the
sake of connections that are still being made; ours stand by then."""

MAX_CHALLENGES: Final = 3
"""Challenges to one request: a first one, a new realm, a nonce that was stale at once."""

RTT_SAMPLES: Final = 5
"""Answers whose median is the round-trip time, as for candidate pairs."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A success response that can be believed."""

    request: Request
    message: TurnMessage


@dataclass(frozen=True, slots=True)
class Refused:
    """An error response that can be believed, or challenges that we cannot meet."""

    request: Request
    code: int
    message: TurnMessage


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No answer, for as long as anybody would wait."""

    request: Request


Outcome = Succeeded | Refused | TimedOut


@dataclass(slots=True)
class _InFlight:
    request: Request
    frame: bytes
    key: bytes | None
    sent_at: float
    first_rto: float
    deadline: float
    challenges: int
    sends: int = 1


class Exchanges:
    """Request and response of one connection; part of an `Allocation`.

    Args:
        reliable: whether the transport loses nothing (RFC 8489 §6.2.2).
        credentials: long-term credentials.
        rng: source of transaction ids; cryptographic in production (RFC 8489 §5).
        dropped: counts answers that changed nothing, by reason.
    """

    def __init__(
        self,
        *,
        reliable: bool,
        credentials: Credentials | None,
        rng: Random,
        dropped: Counter[str],
    ) -> None:
        self._dropped = dropped
        self._reliable = reliable
        self._rng = rng
        self._authentication = Authentication(credentials)
        self._in_flight: dict[TransactionId, _InFlight] = {}
        self._samples: deque[float] = deque(maxlen=RTT_SAMPLES)
        self._outbox: list[bytes] = []

    @property
    def rtt(self) -> float | None:
        """Round-trip time in seconds; `None`: never measured."""
        return median(self._samples) if self._samples else None

    def begin(self, request: Request, now: float) -> None:
        """Ask."""
        self._send(request, challenges=0, now=now)

    def asking(self, kind: type[Request]) -> bool:
        """Whether a request of a kind is in flight."""
        return any(isinstance(sent.request, kind) for sent in self._in_flight.values())

    def receive(self, message: TurnMessage, now: float) -> Outcome | None:
        """Take in a response; `None`: it settles nothing (yet)."""
        sent = self._in_flight.get(message.transaction_id)
        if sent is None:
            self._dropped["answer to no request in flight"] += 1
            return None
        # Only a refusal may be a challenge: a success that carries an ERROR-CODE is forged.
        challenge = message.message_class is MessageClass.ERROR and message.error_code in (
            TurnError.UNAUTHENTICATED,
            TurnError.STALE_NONCE,
        )
        if not challenge and sent.key is not None and not message.is_authentic(sent.key):
            self._dropped["answer that is not authentic"] += 1
            if not self._reliable:
                return None
            # RFC 8489 §9.2.5: nothing else will come, so the transaction has failed.
            del self._in_flight[message.transaction_id]
            return TimedOut(sent.request)
        del self._in_flight[message.transaction_id]
        if sent.sends == 1:
            # Of several copies nobody knows which one was answered (RFC 6298 §3).
            self._samples.append(now - sent.sent_at)
        if message.message_class is MessageClass.SUCCESS and not message.unknown_required:
            return Succeeded(sent.request, message)
        if challenge and sent.challenges < MAX_CHALLENGES and self._meets(sent, message):
            self._send(sent.request, challenges=sent.challenges + 1, now=now)
            return None
        return Refused(sent.request, message.error_code or TurnError.BAD_REQUEST, message)

    def handle_timeout(self, now: float) -> list[TimedOut]:
        """Retransmit; return what is given up."""
        failed: list[TimedOut] = []
        for transaction_id, sent in list(self._in_flight.items()):
            if now < sent.deadline:
                continue
            if self._reliable or sent.sends == MAX_SENDS:
                del self._in_flight[transaction_id]
                failed.append(TimedOut(sent.request))
                continue
            self._outbox.append(sent.frame)
            sent.sends += 1
            last = sent.sends == MAX_SENDS
            sent.deadline = now + sent.first_rto * (LAST_WAIT if last else 2 ** (sent.sends - 1))
        return failed

    def next_timeout(self) -> float:
        """When to call `handle_timeout` next; infinity: nothing is in flight."""
        return min((sent.deadline for sent in self._in_flight.values()), default=math.inf)

    def frames_to_send(self) -> list[bytes]:
        """Take what is to be sent."""
        frames, self._outbox = self._outbox, []
        return frames

    def _meets(self, sent: _InFlight, message: TurnMessage) -> bool:
        if message.error_code == TurnError.STALE_NONCE:
            return self._authentication.stale(message)
        return self._authentication.unauthenticated(message, signed=sent.key is not None)

    def _send(self, request: Request, *, challenges: int, now: float) -> None:
        transaction_id = self._rng.randbytes(TRANSACTION_ID_SIZE)
        method, values = describe(request, transaction_id)
        signature = self._authentication.signature()
        key = None
        if signature is not None and method.needs_credentials:
            values, key = [*values, *signature.values], signature.key
        frame = encode(method, MessageClass.REQUEST, transaction_id, values, key)
        rto = FIRST_RTO if self.rtt is None else max(MIN_RTO, RTO_RTTS * self.rtt)
        wait = RELIABLE_TIMEOUT if self._reliable else rto
        self._in_flight[transaction_id] = _InFlight(
            request, frame, key, now, rto, now + wait, challenges
        )
        self._outbox.append(frame)
