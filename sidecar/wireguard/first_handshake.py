"""Helps a first handshake along where the line loses datagrams.

WireGuard sends an initiation, gets a response, and confirms it by its next packet; only then do both
ends have a session. It repeats a lost initiation after 5 s, and so it does where the response was
lost, for the responder may not open itself in that time either (REKEY_TIMEOUT). A lost confirmation
is repeated by the next data or keepalive only, 25 s later at worst. With 2 % of loss each way one
start in 25 takes 5 to 25 s; helped, none of 600,000 took 2.5 (`tests/support/lossy_handshake.py`).

So the side that opens does it again if it sees no session after two and a half round trips, on a
peer begun anew, for nothing else lifts that limit; there is no session yet that could get lost. And
it pokes until something other than handshakes has come in.
"""

import math
from enum import Enum
from typing import Final

from .device import PeerState

INITIATION: Final = 148
RESPONSE: Final = 92
"""Bytes of a handshake's two messages."""

HANDSHAKES: Final = frozenset(i * INITIATION + r * RESPONSE for i in range(4) for r in range(4))
"""Bytes that come in where nothing but handshakes does, those of the other side included: who has
received no more knows of no confirmation."""

DELAY: Final = 0.5
"""Least seconds that a handshake gets: a busy host may take as long to do its arithmetic, and what
begins anew gives up what is under way."""

ROUND_TRIPS: Final = 2.5
"""Round trips that it gets at least."""

REPEATS: Final = 4
"""Times that each half is repeated; after that it is WireGuard's own timer's business."""


class Help(Enum):
    """What is to be done."""

    OPEN_AGAIN = "the initiation was not answered"
    POKE = "the session was not answered"


class _Phase(Enum):
    IDLE = "nothing to be helped"
    OPENING = "no session yet"
    CONFIRMING = "a session that only this side may know of"


class FirstHandshake:
    """One peer's, on the side that opens."""

    def __init__(self) -> None:
        self._phase = _Phase.IDLE
        self._delay = DELAY
        self._left = 0
        self._at = math.inf

    def begin(self, rtt: float | None, now: float) -> None:
        """Note that an initiation leaves, on a path with this round-trip time."""
        self._delay = max(DELAY, ROUND_TRIPS * (rtt or 0.0))
        self._enter(_Phase.OPENING, now)

    def end(self) -> None:
        """Leave the peer alone."""
        self._phase, self._at = _Phase.IDLE, math.inf

    def observe(self, state: PeerState, *, live: bool, now: float) -> None:
        """Take in the peer as it is; `live`: whether it has a session that may be used."""
        if self._phase is _Phase.IDLE:
            return
        if not live:
            if state.last_handshake is not None:
                self.end()  # it had a session once, which nothing may put an end to
        elif state.rx_bytes not in HANDSHAKES:
            self.end()
        elif self._phase is _Phase.OPENING:
            self._enter(_Phase.CONFIRMING, now)

    def take_due(self, now: float) -> Help | None:
        """Tell what is to be done now, once."""
        if now < self._at:
            return None
        self._left -= 1
        self._at = now + self._delay if self._left else math.inf
        return Help.OPEN_AGAIN if self._phase is _Phase.OPENING else Help.POKE

    def next_timeout(self) -> float | None:
        """When `take_due` has something next."""
        return None if self._at == math.inf else self._at

    def _enter(self, phase: _Phase, now: float) -> None:
        self._phase, self._left, self._at = phase, REPEATS, now + self._delay
