"""Who can know us: until when a peer that we have just learned of gets openers only.

A message counts as read a second after it was posted. Whoever posted before us reads us later
than we read him; whoever posted after us reads us first (`nat.path.openers` says why it matters).
"""

import math
from typing import Final

READ_AFTER: Final = 1.0
"""Seconds after a post until it has been read: Keybase pushes in a fraction of that, and a peer
that has read it checks us, which ends the waiting."""


class Introduction:
    """Our own announcement, seen from the others.

    Args:
        known: whether we have announced ourselves in an earlier run, so that the others know us.
    """

    def __init__(self, *, known: bool) -> None:
        self._known = known
        self._posted: int | None = None
        self._read_at = math.inf

    def posted(self, id_: int, now: float) -> None:
        """Note the message id of our announcement."""
        if self._posted is None:
            self._posted = id_
            self._read_at = now + READ_AFTER

    def known_from(self, announced_id: int) -> float:
        """Return when the sender of an announcement can know us.

        Args:
            announced_id: message id of the announcement.
        """
        if self._known or (self._posted is not None and announced_id > self._posted):
            return -math.inf
        return self._read_at
