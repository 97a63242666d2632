"""Openers: checks that open our own NAT and live too short to reach the other one.

A Linux gateway that accepts what is sent to itself, as every Docker host does, remembers a check
that comes in before the host behind it has sent anything. The host's own checks then leave from
another port than the one that a STUN server has seen, and the peer's NAT refuses them. So who is
not known to the peer yet sends openers only, and whoever is known to both sides finds the other
open. What has gone wrong all the same heals after a pause in which neither side sends anything:
Linux forgets such an entry after 30 seconds, and each further check renews it.

Only for pairs on which our own mapping is known to be steady (RFC 4787 §4.1): where it varies, the
peer can be met by our checks alone, and there is no port to lose.
"""

import math
from collections.abc import Callable
from random import Random
from typing import Final

from ..candidate import CandidateType
from ..machine import Endpoint
from .pair import Pair
from .schedule import HUNT_INTERVALS, hunt_interval

TTLS: Final = (2, 3)
"""Hops that openers live, in turn: through our own NAT, and through a carrier's right behind it."""

MAX_HOLD: Final = 10.0
"""Seconds after which the peer gets checks although it may not know us: chat may be down."""

PAUSE_AFTER: Final = 9
"""Number of the check (from 0), some 13 s after the first, that a pause follows."""

PAUSE: Final = 36.0
"""Seconds without a check: the 30 for which Linux keeps an entry that nobody answered
(nf_conntrack_udp_timeout), and what both sides' hunts may be apart by then."""

OPENERS: Final = 3
"""Openers after the pause, before checks: until the other side's pause is over, too."""

OPENER_INTERVAL: Final = 2.0
"""Seconds between these."""


def not_measured(_: Endpoint) -> bool:
    """Answer for bases of which nothing is known."""
    return False


class Openers:
    """Which checks of one peer are openers, and when it gets none at all.

    Args:
        is_steady: whether the mapping of a base is known to be the same for every destination.
    """

    def __init__(self, is_steady: Callable[[Endpoint], bool]) -> None:
        self._is_steady = is_steady
        self._hold_until = -math.inf

    def hold(self, until: float, now: float) -> None:
        """Send openers until the peer can be expected to know us."""
        self._hold_until = min(until, now + MAX_HOLD)

    def release(self, now: float) -> bool:
        """Whether holding has just ended."""
        ended = -math.inf < self._hold_until <= now
        if ended:
            self._hold_until = -math.inf
        return ended

    def next_timeout(self) -> float:
        """When holding ends; infinity: nothing is held."""
        return math.inf if self._hold_until == -math.inf else self._hold_until

    def spares(self, pair: Pair) -> bool:
        """Whether a pair may meet a gateway that must not hear of us too early."""
        return (
            pair.remote.type is CandidateType.SERVER_REFLEXIVE
            and pair.heard_at is None
            and pair.answered_at is None
            and self._is_steady(pair.key.base)
        )

    def ttl(self, pair: Pair, now: float) -> int | None:
        """Return the hops that the next check of a pair lives; `None`: as many as it needs."""
        if not self.spares(pair):
            return None
        after_pause = 0 <= pair.attempt - PAUSE_AFTER - 1 < OPENERS
        return TTLS[pair.attempt % len(TTLS)] if now < self._hold_until or after_pause else None

    def interval(self, pair: Pair, rng: Random) -> float:
        """Return the seconds to wait after the next check of a pair, while nothing is connected."""
        attempt = pair.attempt
        if not self.spares(pair) or attempt < PAUSE_AFTER:
            return hunt_interval(attempt, rng)
        if attempt == PAUSE_AFTER:
            return PAUSE
        if attempt <= PAUSE_AFTER + OPENERS:
            return OPENER_INTERVAL
        return hunt_interval(min(attempt - PAUSE_AFTER - OPENERS - 1, len(HUNT_INTERVALS)), rng)
