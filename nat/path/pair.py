"""Candidate pairs (RFC 8445 §6.1.2) with what is measured on them."""

from dataclasses import dataclass, field
from typing import Final

from ..candidate import Candidate, CandidateType
from ..machine import Endpoint
from .events import PairReport, PairState

RTT_GAIN: Final = 1 / 8
"""Weight of a new sample in the smoothed round-trip time (RFC 6298 §2)."""

FIRST_VETO: Final = 60.0
"""Seconds for which a pair is not used after data failed on it; doubles each time."""

LAST_VETO: Final = 1800.0
"""Longest veto in seconds: firewalls do get changed."""

LOST_AFTER_CHECKS: Final = 3
"""Checks without an answer, after the pair had answered, until it may be lost."""

LOST_AFTER: Final = 1.2
"""Seconds without an answer, at least, until it may be lost."""

IN_FLIGHT_LIMIT: Final = 16
"""Transactions of one pair that may still be answered; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class PairKey:
    """What identifies a pair: the base we send from and the address we send to."""

    base: Endpoint
    remote: Endpoint


@dataclass(slots=True)
class Pair:
    """One pair. `mapped` is set while it is valid: our address as the peer sees it."""

    key: PairKey
    remote: Candidate
    priority: int
    next_check: float
    announced: bool
    attempt: int = 0
    """Checks since hunting began anew."""
    mapped: Endpoint | None = None
    rtt: float | None = None
    samples: int = 0
    unanswered: int = 0
    """Checks since the last answer."""
    checks_sent: int = 0
    answered_at: float | None = None
    checked_at: float | None = None
    heard_at: float | None = None
    """When the peer last checked this pair."""
    vetoed_until: float = 0.0
    vetoes: int = 0
    in_flight: dict[bytes, float] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether it is in the valid list (RFC 8445 §7.2.5.3.2)."""
        return self.mapped is not None

    @property
    def relay_hops(self) -> int:
        """Relays between the ends, as far as this side knows."""
        return int(self.remote.type is CandidateType.RELAYED)

    def usable(self, now: float) -> bool:
        """Whether data may take it."""
        return self.valid and now >= self.vetoed_until

    def sent(self, transaction_id: bytes, now: float) -> None:
        """Note a check that leaves now."""
        while len(self.in_flight) >= IN_FLIGHT_LIMIT:
            del self.in_flight[next(iter(self.in_flight))]
        self.in_flight[transaction_id] = now
        self.checks_sent += 1
        self.unanswered += 1
        self.attempt += 1
        self.checked_at = now

    def answered(self, transaction_id: bytes, mapped: Endpoint, now: float) -> None:
        """Note the answer to a check of ours; forged and foreign ones never get here."""
        sample = now - self.in_flight.pop(transaction_id)
        self.rtt = sample if self.rtt is None else self.rtt + RTT_GAIN * (sample - self.rtt)
        self.samples += 1
        self.unanswered = 0
        self.mapped = mapped
        self.answered_at = now

    def overdue(self, now: float) -> bool:
        """Whether it answered once and has stopped to."""
        if self.answered_at is None or self.unanswered < LOST_AFTER_CHECKS:
            return False
        patience = max(LOST_AFTER, 3 * (self.rtt or 0.0))
        return now - self.answered_at >= patience and now - (self.checked_at or now) >= min(
            patience, 0.25
        )

    def fail(self) -> None:
        """Take it out of the valid list; hunting goes on from the start."""
        self.mapped = None
        self.attempt = 0

    def veto(self, now: float) -> None:
        """Do not use it for a time that doubles: checks pass, data does not."""
        self.vetoed_until = now + min(FIRST_VETO * 2**self.vetoes, LAST_VETO)
        self.vetoes = min(self.vetoes + 1, 16)

    def report(self, *, selected: bool, now: float) -> PairReport:
        """Describe it for a person."""
        if self.valid:
            state = PairState.VALID if now >= self.vetoed_until else PairState.VETOED
        elif self.checks_sent == 0:
            state = PairState.WAITING
        elif self.unanswered <= len(_QUICK_CHECKS):
            state = PairState.IN_PROGRESS
        else:
            state = PairState.FAILED
        return PairReport(
            local=self.key.base,
            remote=self.remote,
            state=state,
            selected=selected,
            rtt=self.rtt,
            checks_sent=self.checks_sent,
            last_answer_age=None if self.answered_at is None else now - self.answered_at,
        )


_QUICK_CHECKS: Final = range(7)
"""As many checks as RFC 8489 §6.2.1 (Rc) sends before it calls a transaction failed."""


def pair_priority(controlling: int, controlled: int) -> int:
    """Return the priority of a pair from its candidates' priorities (RFC 8445 §6.1.2.3)."""
    # pair priority = 2^32*MIN(G,D) + 2*MAX(G,D) + (G>D?1:0)
    return (
        (min(controlling, controlled) << 32)
        + 2 * max(controlling, controlled)
        + int(controlling > controlled)
    )
