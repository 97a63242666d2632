"""Who nominates what (RFC 8445 §8.1.1, draft-thatcher-ice-renomination).

The controlling side numbers its nominations, and repeats the current one in every check of the
selected pair. The controlled side follows the highest number, so that a check that comes late, or
twice, never flips the pair back. It tells the highest number in its answers: a controlling side
that was restarted, and counts from the beginning again, continues from there at once.
"""

from ..stun.message import MAX_NOMINATION
from .pair import PairKey


class Nominator:
    """The controlling side."""

    def __init__(self) -> None:
        self._number = 0

    @property
    def number(self) -> int:
        """The number of the nomination in force; 0 before the first."""
        return self._number

    def nominate(self) -> None:
        """Begin a new nomination: its number is higher than any before."""
        self._number = min(self._number + 1, MAX_NOMINATION)

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

    @property
    def number(self) -> int | None:
        """The highest number seen; `None`: none yet."""
        return self._number

    @property
    def key(self) -> PairKey | None:
        """The nominated pair; it may not be valid (yet, or any more)."""
        return self._key

    def follow_numbered(self, number: int, key: PairKey) -> None:
        """Take in a numbered nomination.

        An equal number on another pair is the same nomination from behind another mapping: the
        controlling side's NAT was rebound. (Replays never get here.)
        """
        if self._number is None or number >= self._number:
            self._number = number
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
