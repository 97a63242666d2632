"""Retransmission of a question that UDP may lose (RFC 6886 §3.1)."""

import math
from dataclasses import dataclass
from typing import Final

FIRST_PAUSE: Final = 0.25
"""Seconds before the first retransmission, doubled each time (RFC 6886 §3.1). RFC 6887 §8.1.1
begins at 3 s, which is long for a gateway one hop away and for a host that wants to be reached."""

SEARCH_REQUESTS: Final = 6
"""Times that a gateway is asked whether it maps ports, over 15.75 s. RFC 6886 §3.1 has nine, over
two minutes; it allows fewer, and a gateway that comes up later says so."""

RELEASE_REQUESTS: Final = 3
"""Times that a mapping is deleted at the end, over 1.75 s: nobody waits longer for an exit, and
the lifetime ends it otherwise."""


@dataclass(slots=True)
class Asking:
    """A question in flight."""

    left: int
    """Requests that may still be sent."""

    at: float
    """When the next one is, or when the last one has failed."""

    pause: float = FIRST_PAUSE
    sent: int = 0

    def due(self, now: float) -> bool:
        """Tell whether a request is to be sent now; it then counts as sent."""
        if now < self.at or self.left == 0:
            return False
        self.left -= 1
        self.sent += 1
        self.at = now + self.pause
        self.pause *= 2
        return True

    def failed(self, now: float) -> bool:
        """Tell whether nobody has answered the last request in time."""
        return self.left == 0 and now >= self.at

    def give_up(self) -> None:
        """End it now: the answer is known."""
        self.left = 0
        self.at = -math.inf


def earliest(*times: float | None) -> float | None:
    """Return the first of the times that there are."""
    return min((time for time in times if time is not None), default=None)
