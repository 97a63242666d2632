"""How long a server has to show that it still knows us, once something speaks for another network."""

import math
from typing import Final

JUST_ASKED: Final = 1.0
"""Seconds in which one question is enough, whatever speaks for another network: many peers may fall
silent at once. What is said in this time is asked about when it is over."""

PATIENCE: Final = 0.5
"""Seconds that a server has, at least: seven requests over 32 s (RFC 8489 §6.2.1) are for servers
that nothing speaks against."""

PATIENCE_RTTS: Final = 4.0
"""Round trips that it has, at least: the first request may get lost."""

LATE: Final = 0.1
"""Seconds after the end of this time from which on it was us who were busy: an answer may be waiting
to be read, and gets as long again."""


class Doubt:
    """Part of an `Allocation`."""

    def __init__(self) -> None:
        self._asked_at = -math.inf
        self._until = math.inf
        self._again_at = math.inf

    def begin(self, rtt: float | None, now: float) -> None:
        """Note that the server is asked; `rtt` is `None` before anything was measured."""
        self._asked_at, self._again_at = now, math.inf
        patience = max(PATIENCE, PATIENCE_RTTS * (rtt or 0.0))
        self._until = min(self._until, now + patience)

    def put_off(self, now: float) -> bool:
        """Note a new doubt, and tell whether it must wait: somebody has asked just now.

        The answer may be older than what has happened since, so that it is not forgotten.
        """
        if now - self._asked_at > JUST_ASKED:
            return False
        self._again_at = self._asked_at + JUST_ASKED
        return True

    def take_due(self, now: float) -> bool:
        """Tell, once, whether it is time to ask what was put off."""
        if now < self._again_at:
            return False
        self._again_at = math.inf
        return True

    def end(self) -> None:
        """Note that the server has answered, or that the connection is given up anyway."""
        self._until = math.inf

    def is_over(self, now: float) -> bool:
        """Whether the time has passed without an answer."""
        if now >= self._until + LATE:
            self._until = now + LATE
            return False
        return now >= self._until

    def next_timeout(self) -> float:
        """When to ask `is_over` and `take_due` next; infinity: nothing is doubted."""
        return min(self._until, self._again_at)
