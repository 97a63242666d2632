"""How long a server has to show that it still knows us, once something speaks for another network."""

import math
from typing import Final

JUST_ASKED: Final = 1.0
"""Seconds for which an answer holds although something speaks for another network: many peers may
fall silent at once, and that needs one question."""

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

    def begin(self, rtt: float | None, now: float) -> None:
        """Note that the server is asked; `rtt` is `None` before anything was measured."""
        self._asked_at = now
        patience = max(PATIENCE, PATIENCE_RTTS * (rtt or 0.0))
        self._until = min(self._until, now + patience)

    def asked_just_now(self, now: float) -> bool:
        """Whether asking again would tell nothing."""
        return now - self._asked_at <= JUST_ASKED

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
        """When to ask `is_over` next; infinity: nothing is doubted."""
        return self._until
