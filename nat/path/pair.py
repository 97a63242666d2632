"""Candidate pairs (RFC 8445 §6.1.2) and what has been measured on them."""

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from ..candidate import Candidate, CandidateType
from ..machine import Endpoint
from ..recent import Recent
from .events import Outcome, PairReport, PairState
from .mtu import MtuSearch

RTT_SAMPLES: Final = 5
"""Answers whose median is a pair's round-trip time: two outliers do not move it, and it forgets
the slow first answer, which waited for ARP and for the NAT, within seconds."""

MIN_SAMPLES: Final = 3
"""Answers that both pairs need before one displaces another that is as direct: one may be luck."""

LOST_AFTER_CHECKS: Final = 3
"""Checks in a row without an answer until a valid pair may be lost: at 2 % loss each way a false
alarm once in 16,000 rounds. Data that comes in meanwhile overrules it; where there is too little of
that, data moves to another pair that has just answered, and none of it is lost. With four, a loss
across the world took a round trip more to show than a person may notice."""

SUSPICIOUS: Final = 2
"""Unanswered checks of the selected pair that have the others checked: to leave it takes one that
is proven to work now, not one that did half a minute ago. One may be under way."""

LOST_AFTER: Final = 0.5
"""Seconds without an answer, at least, until a valid pair may be lost."""

LOST_AFTER_RTTS: Final = 3.0
"""Round-trip times without an answer, at least: slow is not dead."""

ANSWER_WITHIN: Final = 0.15
"""Seconds that a check of a valid pair has to be answered, at least: an agent may be busy."""

ANSWER_RTTS: Final = 1.25
"""Round-trip times that it has, at least."""

FIRST_VETO: Final = 60.0
"""Seconds for which a pair is not used after data failed on it; doubles each time."""

LAST_VETO: Final = 1800.0
"""Longest veto in seconds: firewalls do get changed."""

FIRST_TRIGGER: Final = 0.01
"""Seconds since the last check before a check of the peer triggers another; doubles each time."""

LAST_TRIGGER: Final = 10.0
"""Most seconds that it is put off."""

DENSE_TRIGGERS: Final = 4
"""Triggers that begin a hunt anew: the peer has opened its NAT, so it is likely to succeed now."""

ASK_AGAIN: Final = 25.0
"""Seconds until a pair that the peer has refused is checked again."""

RARELY: Final = 100
"""Number of an attempt beyond the dense head of any hunt."""

PATIENCE: Final = 1.0
"""Seconds after which a check is shown as not answered, at least."""

ROUNDING: Final = 1e-6
"""Seconds that binary fractions lose in sums of times."""

IN_PROGRESS_CHECKS: Final = 7
"""Checks after which a pair that never answered is shown as failed (RFC 8489 §6.2.1, Rc)."""


@dataclass(frozen=True, slots=True)
class PairKey:
    """What identifies a pair: the base that we send from and the address that we send to."""

    base: Endpoint
    remote: Endpoint


@dataclass(slots=True, eq=False)
class Pair:
    """One pair of a checklist.

    Attributes:
        key: its identity; never changes.
        local: our best candidate with this base.
        remote: the candidate that we check; its kind may become known later.
        priority: RFC 8445 §6.1.2.3.
        announced: whether the peer has announced `remote`; else it is peer-reflexive.
        noticed_at: when the pair was formed, in seconds.
        data: where the data plane sends to, to reach the peer by this pair: the remote address; for
            a relayed pair of ours the loopback endpoint that its channel is plugged into; `None`:
            it is not plugged in, so data cannot take it yet.
        selected: whether it carries the data.
        asked_at: when a check was asked for that has not left yet.
        attempt: checks since hunting began anew.
        triggers: checks of the peer that had it checked since then.
        interval: seconds to wait after the last check of a hunt.
        valid: whether it is in the valid list (RFC 8445 §7.2.5.3.2).
        mapped: our address as the peer saw it in its last answer.
        samples: round-trip times in seconds, newest last.
        answers: when those answers came in.
        settled_at: when there were enough of them for its time to count.
        unanswered: checks since the last answer.
        unanswered_since: when the first of these left.
        heard_at: when an authentic check of the peer last came in on it.
        mtu: the search for how large a datagram it carries; `None`: it never carried data.
        vetoed_at: when data on it last went unanswered.
        refused_at: when the peer last refused it.
        send_error: why our own host did not send the last check; `None`: it did.
    """

    key: PairKey
    local: Candidate
    remote: Candidate
    priority: int
    announced: bool
    noticed_at: float
    asked_at: float | None
    data: Endpoint | None
    selected: bool = False
    attempt: int = 0
    triggers: int = 0
    interval: float = 0.0
    valid: bool = False
    mapped: Endpoint | None = None
    samples: Recent[float] = field(default_factory=lambda: Recent(RTT_SAMPLES))
    settled_at: float = math.inf
    answers: Recent[float] = field(default_factory=lambda: Recent(RTT_SAMPLES))
    checks_sent: int = 0
    checked_at: float | None = None
    answered_at: float | None = None
    unanswered: int = 0
    unanswered_since: float | None = None
    heard_at: float | None = None
    vetoed_until: float = 0.0
    vetoes: int = 0
    mtu: MtuSearch | None = None
    vetoed_at: float | None = None
    refused_at: float | None = None
    send_error: str | None = None

    @property
    def rtt(self) -> float | None:
        """Round-trip time in seconds; `None`: never measured."""
        return median(self.samples) if self.samples else None

    @property
    def least_rtt(self) -> float | None:
        """The shortest of the last round-trip times in seconds; `None`: never measured."""
        return min(self.samples, default=None)

    @property
    def answer_time(self) -> float:
        """Seconds after which a check counts as unanswered, and the next one leaves."""
        return max(ANSWER_WITHIN, ANSWER_RTTS * (self.rtt or 0.0))

    @property
    def relay_hops(self) -> int:
        """Relays between the ends."""
        return [self.local.type, self.remote.type].count(CandidateType.RELAYED)

    @property
    def relayed_by_us(self) -> bool:
        """Whether it begins at our own relay."""
        return self.local.type is CandidateType.RELAYED

    @property
    def ready(self) -> bool:
        """Whether data could take it."""
        return self.valid and self.data is not None

    def usable(self, now: float) -> bool:
        """Whether data may take it."""
        return self.ready and now >= self.vetoed_until

    def ask(self, now: float) -> None:
        """Have it checked at once."""
        if self.asked_at is None:
            self.asked_at = now

    def hunt(self, now: float) -> None:
        """Check it at once, and densely again unless it answers."""
        self.attempt = 0
        self.triggers = 0
        self.ask(now)

    def trigger(self, now: float, *, densely: bool) -> None:
        """Check it because the peer has (RFC 8445 §7.3.1.4), unless it was checked just now.

        Each time that this does not make it valid, the next has to wait twice as long: answers may
        get lost for ever where checks get through, and two agents would chase each other.

        Args:
            now: current time in seconds.
            densely: whether to hunt anew, while that is still young.
        """
        pause = min(FIRST_TRIGGER * 2.0**self.triggers, LAST_TRIGGER)
        if self.checked_at is not None and now - self.checked_at < pause:
            return
        if densely and self.triggers < DENSE_TRIGGERS:
            self.attempt = 0
        self.triggers += 1
        self.ask(now)

    def sent(self, interval: float, now: float) -> None:
        """Note that a check leaves, to be repeated in `interval` seconds while hunting."""
        self.asked_at = None
        self.attempt += 1
        self.interval = interval
        self.checks_sent += 1
        self.checked_at = now
        self.send_error = None
        self.unanswered += 1
        if self.unanswered_since is None:
            self.unanswered_since = now

    def answered(self, mapped: Endpoint, rtt: float, now: float) -> None:
        """Note an authentic answer."""
        self.valid = True
        self.mapped = mapped
        self.triggers = 0
        if not self.samples or rtt <= self.answer_time or self._is_newest(now - rtt):
            self.samples.append(rtt)
            if len(self.samples) == MIN_SAMPLES:
                self.settled_at = now
        self.answers.append(now)
        self.answered_at = now
        self.new_round()

    def _is_newest(self, sent_at: float) -> bool:
        """Whether a check is the last one that left.

        An agent that was busy answers several at once; the first of them measure how long that
        was, not how long the way is.
        """
        return self.checked_at is None or sent_at >= self.checked_at - ROUNDING

    def new_round(self) -> None:
        """Forget that checks went unanswered: what follows decides."""
        self.unanswered = 0
        self.unanswered_since = None

    def overdue_at(self) -> float | None:
        """When it counts as not answering any more; `None`: not as things are."""
        if not self.valid or self.unanswered < LOST_AFTER_CHECKS:
            return None
        patience = max(LOST_AFTER, LOST_AFTER_RTTS * (self.rtt or 0.0))
        first = self.unanswered_since or 0.0
        last = self.checked_at or 0.0
        return max(first + patience, last + self.answer_time)

    def overdue(self, now: float) -> bool:
        """Whether it has answered, and does not any more."""
        at = self.overdue_at()
        return at is not None and now >= at

    def first_answer_since(self, moment: float | None) -> float | None:
        """When it was first proven to work, at `moment` or later; `None`: not since."""
        if not self.valid or moment is None:
            return None
        return next((at for at in self.answers if at >= moment), None)

    def fail(self, now: float) -> None:
        """Take it out of the valid list; hunting begins anew."""
        self.valid = False
        self.samples.clear()
        self.new_round()
        self.hunt(now)

    def lapse(self, now: float) -> None:
        """Take it out of the valid list; nobody needs it, so it is checked when its turn comes."""
        self.fail(now)
        self.refused_at = now
        self.attempt = RARELY
        self.asked_at = None

    def reject(self, now: float) -> None:
        """Take it out of the valid list because the peer says so; ask again, but not soon."""
        self.lapse(now)
        self.interval = ASK_AGAIN

    def veto(self, now: float) -> None:
        """Do not use it for a time that doubles: checks pass, data does not."""
        self.vetoed_at = now
        self.vetoed_until = now + min(FIRST_VETO * 2**self.vetoes, LAST_VETO)
        self.vetoes = min(self.vetoes + 1, 16)

    def report(self, now: float, local_kind: CandidateType | None = None) -> PairReport:
        """Describe it for a person; `local_kind`: how the peer sees our end, if that is known."""
        outcome, since = self._outcome(now)
        return PairReport(
            local=self.key.base,
            remote=self.remote,
            state=self._state(now),
            selected=self.selected,
            rtt=self.rtt,
            checks_sent=self.checks_sent,
            last_answer_age=None if self.answered_at is None else now - self.answered_at,
            local_kind=local_kind or self.local.type,
            mapped=self.mapped,
            heard_age=None if self.heard_at is None else now - self.heard_at,
            outcome=outcome,
            outcome_age=None if since is None else now - since,
            error=self.send_error,
        )

    def _outcome(self, now: float) -> tuple[Outcome, float | None]:
        """Return what became of it last, and when."""
        if self.send_error is not None:
            return Outcome.SEND_ERROR, self.checked_at
        if self.valid and not self.usable(now):
            return Outcome.DATA_UNANSWERED, self.vetoed_at
        known = [
            (at, outcome)
            for at, outcome in (
                (self.answered_at, Outcome.ANSWERED),
                (self.refused_at, Outcome.REFUSED),
            )
            if at is not None
        ]
        at, outcome = max(known, key=lambda entry: entry[0], default=(None, Outcome.UNTRIED))
        if self.checked_at is None or (at is not None and self.checked_at <= at):
            return outcome, at
        patience = max(PATIENCE, LOST_AFTER_RTTS * (self.rtt or 0.0))
        if now - self.checked_at >= patience or self.unanswered > 1:
            return Outcome.NO_ANSWER, self.checked_at
        return (Outcome.PENDING, self.checked_at) if at is None else (outcome, at)

    def _state(self, now: float) -> PairState:
        if self.valid:
            return PairState.VALID if self.usable(now) else PairState.VETOED
        if self.checks_sent == 0:
            return PairState.WAITING
        in_progress = self.attempt <= IN_PROGRESS_CHECKS
        return PairState.IN_PROGRESS if in_progress else PairState.FAILED


def pair_priority(controlling: int, controlled: int) -> int:
    """Return the priority of a pair from its candidates' priorities (RFC 8445 §6.1.2.3)."""
    # pair priority = 2^32*MIN(G,D) + 2*MAX(G,D) + (G>D?1:0)
    return (
        (min(controlling, controlled) << 32)
        + 2 * max(controlling, controlled)
        + int(controlling > controlled)
    )
