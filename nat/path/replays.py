"""Which checks have come in before: duplicates of the network, and replays by whoever overheard them."""

from array import array
from typing import Final

from ..stun.message import TransactionId

_ID_BYTES: Final = 8
"""Of each id that are kept. Who cannot forge a check cannot choose its id; of two that it could meet
by chance the second would be taken for a duplicate, once in 2^56 checks."""


class Replays:
    """The transaction ids of the last few checks, in a tenth of the memory of the ids themselves.

    Args:
        bound: how many.
    """

    __slots__ = ("_bound", "_ids", "_oldest")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._ids = array("Q")
        self._oldest = 0

    def has_seen(self, transaction_id: TransactionId) -> bool:
        """Whether a check is among them; from now on it is."""
        short = int.from_bytes(transaction_id[:_ID_BYTES], "big")
        if short in self._ids:
            return True
        if len(self._ids) < self._bound:
            self._ids.append(short)
        else:
            self._ids[self._oldest] = short
            self._oldest = (self._oldest + 1) % self._bound
        return False
