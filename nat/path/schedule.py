"""When a candidate pair is checked. Checking never ends; it only becomes rarer."""

from random import Random
from typing import Final

HUNT_INTERVALS: Final = (0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0, 5.0, 5.0, 10.0, 20.0, 25.0)
"""Seconds between checks of a pair that never answered; the last one repeats for ever.

Dense at first, since both sides punch within a few round trips of each other's announcement
(RFC 8445 §14.3 starts at 500 ms: pacing protects the network there, a global pacer does here);
never above 30 s with jitter, so that a NAT's unreplied mapping of 30 s stays open."""

HUNT_JITTER: Final = 0.15
"""Share by which an interval varies, so that many peers do not check in step."""

SELECTED_ACTIVE: Final = 1.0
"""Seconds between checks of the selected pair while data flows: a loss shows within 3."""

SELECTED_IDLE: Final = 60.0
"""Seconds between checks of the selected pair without data; WireGuard keeps the NAT open."""

ALTERNATIVE_ACTIVE: Final = 5.0
"""Seconds between checks of another valid pair while data flows."""

ALTERNATIVES_IDLE: Final = 30.0
"""Seconds between checks of any other pair, in turn, without data."""

RETRY: Final = 0.3
"""Seconds after an unanswered check of a pair that used to answer."""

SILENT_RETRY: Final = 5.0
"""Seconds between checks while the far agent is silent but data proves the path."""

PASSIVE_FACTOR: Final = 1.5
"""The controlled side of an idle peer lets the other check, and only steps in this much later:
one exchange measures the pair for both."""


def hunt_interval(attempt: int, rng: Random) -> float:
    """Return the seconds to wait after the check number `attempt` (from 0), with jitter."""
    interval = HUNT_INTERVALS[min(attempt, len(HUNT_INTERVALS) - 1)]
    if attempt < 4:
        return interval  # the burst stays regular: it is what punches
    return interval * (1 + HUNT_JITTER * (2 * rng.random() - 1))
