"""What to do when WireGuard sends elsewhere than to the selected pair (design D6).

The kernel adopts the source of any authentic packet as a peer's endpoint and tells nobody. An
endpoint that no valid pair leads to is checked at once: if it answers, data has found a path and
we follow; if not, the selected path is asserted again. An endpoint that a valid pair leads to is
where the peer's data comes from; if that lasts, the peer has its reasons.
"""

import math
from dataclasses import dataclass
from typing import Final

from ..candidate import CandidateType, compute_priority
from ..machine import Endpoint
from .checklist import Checklist
from .evidence import DataEvidence
from .pair import SUSPICIOUS, Pair

ANSWER_WITHIN: Final = 1.0
"""Seconds that an unknown endpoint has to answer; at least five checks leave in this time."""

INSISTENCE: Final = 3.0
"""Seconds for which data comes by another valid pair until we follow it: longer than the last
packets of an old path, and than the owner asserts a new one."""

SECOND_THOUGHTS: Final = 30.0
"""Seconds in which data that comes by more relays than the selected pair has is followed the second
time only. The first time it may be an echo: each side answers what comes late over the relay there,
and so keeps the other at it."""

INSISTENT_REPORTS: Final = 2
"""Reports in this time that show data coming in: one may be the last packet of an old path."""


@dataclass(frozen=True, slots=True)
class Adopt:
    """Follow the data to this pair."""

    pair: Pair
    insisted: bool


@dataclass(frozen=True, slots=True)
class Reassert:
    """Send the data to the selected pair again."""

    disputed: Endpoint


@dataclass(slots=True)
class _Dispute:
    endpoint: Endpoint
    since: float
    until: float
    known: bool
    arrivals: int = 0


class Roaming:
    """Watches the endpoint of one peer."""

    def __init__(self, *, checklist: Checklist, evidence: DataEvidence) -> None:
        self._checklist = checklist
        self._evidence = evidence
        self._dispute: _Dispute | None = None
        self._resisted_at = -math.inf

    def observe(self, selected: Pair | None, now: float) -> None:
        """Compare the last report with the selected pair."""
        endpoint = self._evidence.endpoint
        if selected is None or endpoint is None or endpoint == selected.data:
            self._dispute = None
            return
        if self._dispute is None or self._dispute.endpoint != endpoint:
            self._dispute = self._open(endpoint, now)
        self._dispute.arrivals += self._evidence.arriving

    def step(self, selected: Pair | None, *, drives: bool, now: float) -> Adopt | Reassert | None:
        """Decide, if it is time.

        Args:
            selected: the selected pair.
            drives: whether this side is the controlling one.
            now: current time in seconds.
        """
        dispute = self._dispute
        if dispute is None or selected is None or dispute.endpoint == selected.data:
            self._dispute = None
            return None
        pairs = self._checklist.with_data(dispute.endpoint)
        answering = [pair for pair in pairs if pair.usable(now)]
        pair = min(answering, key=lambda pair: pair.rtt or math.inf, default=None)
        if pair is not None and not dispute.known:
            self._dispute = None
            return Adopt(pair, insisted=False)
        if now < dispute.until:
            return None
        self._dispute = None
        if pair is not None and self._may_be_echo(pair, selected, now):
            self._resisted_at = now
            return Reassert(dispute.endpoint)
        if pair is not None and dispute.arrivals >= INSISTENT_REPORTS:
            # The controlled side is told by a nomination which pair it is to be.
            return Adopt(pair, insisted=True) if drives else None
        # Data that goes elsewhere may be right if our own pair is in doubt.
        doubted = not selected.valid or selected.unanswered >= SUSPICIOUS
        return None if doubted else Reassert(dispute.endpoint)

    def next_timeout(self) -> float:
        """When `step` is to be called next; infinity: nothing is disputed."""
        return math.inf if self._dispute is None else self._dispute.until

    def _may_be_echo(self, pair: Pair, selected: Pair, now: float) -> bool:
        worse = pair.relay_hops > selected.relay_hops
        works = selected.valid and not selected.unanswered
        return worse and works and now - self._resisted_at > SECOND_THOUGHTS

    def _open(self, endpoint: Endpoint, now: float) -> _Dispute:
        pairs = self._checklist.with_data(endpoint)
        if any(pair.valid for pair in pairs):
            return _Dispute(endpoint, now, now + INSISTENCE, known=True)
        priority = compute_priority(CandidateType.PEER_REFLEXIVE)
        pairs = self._checklist.learn_everywhere(endpoint, priority, now)
        for pair in pairs:
            pair.hunt(now)
        return _Dispute(endpoint, now, now + (ANSWER_WITHIN if pairs else 0.0), known=False)
