"""When a program that died is started again."""

from dataclasses import dataclass
from typing import Final

FIRST_DELAY: Final = 0.2
"""Seconds until the first restart: a crash after days must not be noticed."""

GROWTH: Final = 2.0

MAX_DELAY: Final = 30.0
"""Seconds between starts of what dies at once: a mended disk or network is found soon enough."""

STEADY_AFTER: Final = 60.0
"""Seconds of life after which earlier deaths are forgotten."""


@dataclass(slots=True)
class Backoff:
    """The pauses of one program."""

    _delay: float = FIRST_DELAY

    def pause_after(self, lived: float) -> float:
        """Return how many seconds to wait after a life of `lived` seconds."""
        if lived >= STEADY_AFTER:
            self._delay = FIRST_DELAY
        pause = self._delay
        self._delay = min(MAX_DELAY, pause * GROWTH)
        return pause
