"""Connectivity checks: made, verified and matched (RFC 8445 §7.2, §7.3).

What comes in is judged here before anything else may look at it. A check counts only with the
right USERNAME, MESSAGE-INTEGRITY and FINGERPRINT; an answer only with the id of a check that is in
flight, MESSAGE-INTEGRITY, and the addresses of that check turned round.
"""

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from ..candidate import CandidateType, compute_priority
from ..machine import Datagram, Endpoint
from ..stun.message import (
    TRANSACTION_ID_SIZE,
    ErrorCode,
    MessageClass,
    StunMessage,
    TransactionId,
    check_request,
    error_response,
    success_response,
)
from .credentials import IceCredentials, Role
from .pair import Pair, PairKey
from .replays import Replays

MAX_IN_FLIGHT: Final = 256
"""Checks of one peer that may still be answered; the oldest are forgotten first."""

ANSWER_WITHIN: Final = 10.0
"""Seconds within which an answer is believed: no path is slower, and a stale one misleads."""

REPLAY_MEMORY: Final = 256
"""Checks that are remembered: minutes' worth of an active peer's. One that is older only has a pair
checked, which counts when that is answered; what it nominates, `nomination` knows to be old."""


class Ignored(Enum):
    """Why a datagram changes nothing. It is not answered either: silence tells a forger least."""

    NOT_A_CHECK = "neither a check nor an answer"
    NO_FINGERPRINT = "check without fingerprint"
    WRONG_USERNAME = "username of another pair of agents"
    FORGED = "wrong or missing message integrity"
    NOT_ASKED = "answer to no check in flight"
    ASYMMETRIC = "answer from or to another address than the check's"
    INCOMPLETE = "answer that lacks the mapped address"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An authentic check that must be answered with an error (RFC 8489 §6.3.1)."""

    error: ErrorCode
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """An authentic check of the peer.

    Attributes:
        key: the pair that it came in on.
        priority: of the peer-reflexive candidate that its source would be (RFC 8445 §7.3.1.3).
        use_candidate: whether it nominates the pair.
        nomination: the number of that nomination.
        transaction_id: the check's own.
        repeated: whether the same check has been seen before (a duplicate, or a replay).
    """

    key: PairKey
    priority: int
    use_candidate: bool
    nomination: int | None
    transaction_id: TransactionId
    repeated: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """An authentic success response to a check of ours.

    Attributes:
        key: the pair that was checked.
        mapped: our address as the peer saw it.
        rtt: seconds from check to answer.
        nomination: the highest nomination that the peer has seen.
        probe: payload size of the check, if that was padded to try the path's width.
    """

    key: PairKey
    mapped: Endpoint
    rtt: float
    nomination: int | None
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """An authentic error response to a check of ours: the peer does not accept the pair."""

    key: PairKey


@dataclass(frozen=True, slots=True)
class InFlight:
    """A check that may still be answered; `probe`: see `Answer`."""

    key: PairKey
    sent_at: float
    probe: int | None = None


class Checks:
    """Both directions of the checks with one peer."""

    def __init__(self, *, credentials: IceCredentials, role: Role, rng: Random) -> None:
        self._credentials = credentials
        self._role = role
        self._rng = rng
        self._in_flight: dict[TransactionId, InFlight] = {}
        self._seen = Replays(REPLAY_MEMORY)

    def awaits(self, transaction_id: TransactionId) -> bool:
        """Whether a check with this id is in flight."""
        return transaction_id in self._in_flight

    def unsent(self, transaction_id: TransactionId) -> InFlight | None:
        """Forget a check that our own host would not send; `None`: it is not in flight."""
        return self._in_flight.pop(transaction_id, None)

    def request(
        self, pair: Pair, nomination: int | None, now: float, probe: int | None = None
    ) -> bytes:
        """Make a check of `pair`.

        Args:
            pair: what is checked.
            nomination: nominates the pair with this number.
            now: current time in seconds.
            probe: payload size to pad it to.
        """
        transaction_id = self._rng.randbytes(TRANSACTION_ID_SIZE)
        self._forget_old(now)
        self._in_flight[transaction_id] = InFlight(pair.key, now, probe)
        credentials = self._credentials
        return check_request(
            transaction_id,
            username=f"{credentials.remote_ufrag}:{credentials.local_ufrag}",
            password=credentials.remote_password,
            priority=_reflexive_priority(pair),
            controlling=self._role is Role.CONTROLLING,
            tie_breaker=self._role.tie_breaker,
            use_candidate=nomination is not None,
            nomination=nomination,
            size=probe or 0,
        )

    def response(self, request: StunMessage, source: Endpoint, nomination: int | None) -> bytes:
        """Answer an authentic check that came from `source`."""
        return success_response(
            request.transaction_id,
            source,
            password=self._credentials.local_password,
            nomination=nomination,
        )

    def refusal(self, request: StunMessage, refusal: Refusal) -> bytes:
        """Answer an authentic check with an error."""
        return error_response(
            request.transaction_id,
            refusal.error,
            password=self._credentials.local_password,
            unknown=refusal.unknown,
        )

    def judge(
        self, message: StunMessage, datagram: Datagram, now: float
    ) -> Check | Answer | Rejection | Refusal | Ignored:
        """Verify what came in; a `Refusal` or what is `Ignored` must not change any state."""
        match message.message_class:
            case MessageClass.REQUEST:
                return self._judge_request(message, datagram)
            case MessageClass.SUCCESS | MessageClass.ERROR:
                return self._judge_response(message, datagram, now)
            case MessageClass.INDICATION:
                return Ignored.NOT_A_CHECK

    def _judge_request(self, message: StunMessage, datagram: Datagram) -> Check | Refusal | Ignored:
        credentials = self._credentials
        if not message.has_fingerprint:
            return Ignored.NO_FINGERPRINT
        if message.username != f"{credentials.local_ufrag}:{credentials.remote_ufrag}":
            return Ignored.WRONG_USERNAME
        if not message.is_authentic(credentials.local_password):
            return Ignored.FORGED
        if message.unknown_required:
            return Refusal(ErrorCode.UNKNOWN_ATTRIBUTE, message.unknown_required)
        controlling = self._role is Role.CONTROLLING
        same_role = message.controlling if controlling else message.controlled
        other_role = message.controlled if controlling else message.controlling
        if same_role is not None:
            # RFC 8445 §7.3.1.1 with our tie-breakers: we always keep our role.
            return Refusal(ErrorCode.ROLE_CONFLICT)
        if other_role is None or message.priority is None:
            return Refusal(ErrorCode.BAD_REQUEST)
        return Check(
            PairKey(datagram.destination, datagram.source),
            message.priority,
            message.use_candidate,
            message.nomination,
            message.transaction_id,
            repeated=self._seen.has_seen(message.transaction_id),
        )

    def _judge_response(
        self, message: StunMessage, datagram: Datagram, now: float
    ) -> Answer | Rejection | Ignored:
        in_flight = self._in_flight.get(message.transaction_id)
        if in_flight is None or now - in_flight.sent_at > ANSWER_WITHIN:
            return Ignored.NOT_ASKED
        if not message.is_authentic(self._credentials.remote_password):
            return Ignored.FORGED
        if PairKey(datagram.destination, datagram.source) != in_flight.key:
            return Ignored.ASYMMETRIC
        del self._in_flight[message.transaction_id]
        if message.message_class is MessageClass.ERROR:
            return Rejection(in_flight.key)
        if message.mapped_address is None or message.unknown_required:
            return Ignored.INCOMPLETE
        rtt = now - in_flight.sent_at
        return Answer(
            in_flight.key, message.mapped_address, rtt, message.nomination, in_flight.probe
        )

    def _forget_old(self, now: float) -> None:
        while self._in_flight:
            oldest, in_flight = next(iter(self._in_flight.items()))
            if len(self._in_flight) < MAX_IN_FLIGHT and now - in_flight.sent_at <= ANSWER_WITHIN:
                return
            del self._in_flight[oldest]


def _reflexive_priority(pair: Pair) -> int:
    """Return what PRIORITY tells: of the candidate that the check may reveal (RFC 8445 §7.1.1)."""
    if pair.local.type is CandidateType.RELAYED:
        return pair.local.priority
    local_preference = (pair.local.priority >> 8) & 0xFFFF
    return compute_priority(CandidateType.PEER_REFLEXIVE, local_preference)
