"""Keybase's clock as we see it: what our own messages are dated with, when they come back.

Numbers of announcements are times, and who is more than ten minutes ahead of the server is not
believed (design S4). A host whose clock is wrong must not be unheard for that.
"""

from collections.abc import Callable
from typing import Final

TOLERANCE: Final = 60.0
"""Seconds by which two clocks may differ before it is worth a word, or a correction."""

REMEMBERED: Final = 16
"""Lines of ours that may be under way at once, the latest ones."""


class ServerClock:
    """Tells the time by the server's clock, once that is known.

    Args:
        wall: returns the seconds since the epoch by this host's clock.
        on_difference: told by how many seconds this host is ahead, whenever that becomes other
            than what was told before; 0 while both agree well enough.
    """

    def __init__(self, wall: Callable[[], float], on_difference: Callable[[float], None]) -> None:
        self._wall = wall
        self._on_difference = on_difference
        self._posted: dict[str, float] = {}
        self._ahead = 0.0

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._wall() - self._ahead

    def posting(self, line: str) -> None:
        """Remember when a line of ours was posted."""
        self._posted[line] = self._wall()
        while len(self._posted) > REMEMBERED:
            del self._posted[next(iter(self._posted))]

    def came_back(self, line: str, sent_at: float) -> None:
        """Take in the server's date of a line, if it is one of ours."""
        posted = self._posted.pop(line, None)
        if posted is None:
            return
        ahead = posted - sent_at
        ahead = ahead if abs(ahead) >= TOLERANCE else 0.0
        if abs(ahead - self._ahead) >= TOLERANCE:
            self._ahead = ahead
            self._on_difference(ahead)
        elif ahead:
            self._ahead = ahead
