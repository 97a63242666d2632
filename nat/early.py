"""Checks from peers that we do not know yet.

A peer that learned of us first checks us before its announcement reaches us. Such a check can only
be verified later, but it tells then what no announcement can: the mapping that a NAT has made
for us in particular. Kept for half a minute, it saves the peer's next check, which may be as far
away.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from .machine import Datagram
from .stun.message import StunMessage

KEEP_FOR: Final = 30.0
"""Seconds: the longest pause between two checks of a hunt, and the life of an idle mapping."""

MAX_KEPT: Final = 64
"""Checks that are kept, of all strangers together; the oldest go first."""


@dataclass(frozen=True, slots=True)
class EarlyCheck:
    """A check that nobody could verify when it came in."""

    message: StunMessage
    datagram: Datagram
    received_at: float


class EarlyChecks:
    """A bounded memory of checks, by the local ufrag that they name."""

    def __init__(self) -> None:
        self._kept: deque[EarlyCheck] = deque(maxlen=MAX_KEPT)

    def keep(self, message: StunMessage, datagram: Datagram, now: float) -> None:
        """Remember a check."""
        self._kept.append(EarlyCheck(message, datagram, now))

    def take(self, local_ufrag: str, now: float) -> list[EarlyCheck]:
        """Take what came for `local_ufrag` lately: the newest of each pair of addresses."""
        ours = [kept for kept in self._kept if ufrag_of(kept.message) == local_ufrag]
        for kept in ours:
            self._kept.remove(kept)
        newest = {(kept.datagram.source, kept.datagram.destination): kept for kept in ours}
        return [kept for kept in newest.values() if now - kept.received_at <= KEEP_FOR]


def ufrag_of(message: StunMessage) -> str:
    """Return the receiver's ufrag, the first half of USERNAME (RFC 8445 §7.2.2)."""
    return (message.username or "").partition(":")[0]
