"""Who nominates what (RFC 8445 §8.1.1, draft-thatcher-ice-renomination).

The controlling side numbers its nominations, and repeats the current one in every check of the
selected pair. The controlled side follows the highest number, so that a check that comes late, or
twice, never flips the pair back. It tells the highest number in its answers: a controlling side
that was restarted, and counts from the beginning again, continues from there at once.
"""

from typing import Final

from ..stun.message import MAX_NOMINATION, TransactionId
from .pair import PairKey
from .replays import Replays

RENEW_AFTER: Final = 32
"""Checks that carry one number: few enough that the other side remembers them all."""

REMEMBERED: Final = 4 * RENEW_AFTER
"""Checks of the number in force that are remembered. Older agents repeat a number without end."""


class Nominator:
    """The controlling side."""

    def __init__(self) -> None:
        self._number = 0
        self._carried = 0

    @property
    def number(self) -> int:
        """The number of the nomination in force; 0 before the first."""
        return self._number

    def nominate(self) -> None:
        """Begin a new nomination: its number is higher than any before."""
        self._number = min(self._number + 1, MAX_NOMINATION)
        self._carried = 0

    def sent(self) -> None:
        """Note that a check has carried the number: the next may carry another for the same pair."""
        self._carried += 1
        if self._carried >= RENEW_AFTER:
            self.nominate()

    def overtake(self, number: int) -> bool:
        """Note what the peer follows; whether ours was lower, and must be renewed."""
        if number <= self._number:
            return False
        self._number = number
        self.nominate()
        return True


class NominationFollower:
    """The controlled side."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._key: PairKey | None = None
        self._priority = 0
        self._heard = Replays(REMEMBERED)

    @property
    def number(self) -> int | None:
        """The highest number seen; `None`: none yet."""
        return self._number

    @property
    def key(self) -> PairKey | None:
        """The nominated pair; it may not be valid (yet, or any more)."""
        return self._key

    def follow_numbered(self, number: int, key: PairKey, check: TransactionId) -> None:
        """Take in a numbered nomination, said in a check of this id.

        An equal number on another pair is the same nomination from behind another mapping: the
        controlling side's NAT was rebound. Unless it has been heard before: then somebody has
        overheard it and sends it again from elsewhere, however much later.
        """
        if self._number is None or number > self._number:
            self._number = number
            self._heard = Replays(REMEMBERED)
        if number == self._number and not self._heard.has_seen(check):
            self._key = key

    def follow_plain(self, key: PairKey, priority: int, *, replace: bool) -> None:
        """Take in a USE-CANDIDATE without a number, as foreign agents send.

        Args:
            key: the pair.
            priority: of the pair; of several, the highest wins (RFC 5245 §8.1.1.2).
            replace: whether the pair nominated before does not work.
        """
        if self._number is not None:
            return
        if self._key is None or replace or priority >= self._priority:
            self._key = key
            self._priority = priority

    def adopt(self, key: PairKey) -> None:
        """Follow the data, which has moved to a pair of its own accord, until told otherwise."""
        self._key = key
