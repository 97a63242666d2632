"""When both sides try, without a word between them.

The first try follows the meeting: both sides learn of each other at about the same moment. Later
ones need a clock that both share, the wall clock: every pair of peers has moments of its own, one
a minute. A side that has failed uses every second, fourth … of them, counted from the epoch, so
that the moments of the side with more failures are always among those of the other.
"""

import math
from typing import Final

MEETING_DELAY: Final = 4.0
"""Seconds from the meeting to the first moment: ordinary checks have had their chance by then."""

PERIOD: Final = 60.0
"""Seconds between the moments of a pair of peers."""

MAX_LEVEL: Final = 5
"""Failures after which tries do not become rarer: one each 32 minutes."""

LATEST: Final = 12.0
"""Seconds after its moment that a try may still begin: the other side is at it for longer."""

MIN_GAP: Final = 45.0
"""Seconds from the beginning of a try to the next moment, whatever happens."""


class Schedule:
    """The moments of one peer.

    Args:
        phase: seconds after each full period; the same on both sides, different for each pair.
    """

    def __init__(self, *, phase: float) -> None:
        self.level = 0
        """Failures in a row, at most `MAX_LEVEL`."""
        self._phase = phase % PERIOD
        self._meeting: float | None = None
        self._not_before = -math.inf

    def meet(self, now: float) -> None:
        """Note that both sides have just learned something of each other."""
        self._meeting = now + MEETING_DELAY
        self._not_before = max(self._not_before, self._meeting)

    def begin(self, now: float) -> None:
        """Note that a try begins."""
        self._meeting = None
        self._not_before = now + MIN_GAP

    def end(self, *, success: bool) -> None:
        """Note how a try ended."""
        self.level = 0 if success else min(self.level + 1, MAX_LEVEL)

    def next_try(self, now: float, wall_offset: float | None, *, lead: float) -> float:
        """Return when the next try may begin; not later than now: it may begin now.

        Args:
            now: current time in seconds.
            wall_offset: seconds from `now` to the wall clock; `None`: not known.
            lead: seconds that this side begins before a moment.
        """
        earliest = max(self._not_before, now - LATEST + lead)
        moments = [self._moment_after(earliest, wall_offset)]
        if self._meeting is not None and self._meeting >= earliest:
            moments.append(self._meeting)
        return min(moments) - lead

    def _moment_after(self, earliest: float, wall_offset: float | None) -> float:
        if wall_offset is None:
            return math.inf
        step = PERIOD * 2.0**self.level
        shift = self._phase - wall_offset
        return math.ceil((earliest - shift) / step) * step + shift
