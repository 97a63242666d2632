"""A won port made one with the shared port: whose it is, and for how long."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..machine import Endpoint
from ..path.events import PairState, PeerId, PeerReport

LOST_FOR_GOOD: Final = 60.0
"""Seconds without any sign of its pair after which a splice goes: twice as long as Linux keeps an
unanswered mapping, so that there is nothing left at the NAT to come back to."""

ADOPTION: Final = 600.0
"""Seconds that a splice of a former run waits for its peer to be known again: chat may be slow,
and the data that it carries flows meanwhile."""

_ALIVE: Final = frozenset({PairState.VALID, PairState.VETOED})


@dataclass(frozen=True, slots=True)
class Splice:
    """Datagrams between `base` and `remote` travel under another port of the same address.

    Attributes:
        base: our end of the shared port.
        port: the local port that has won; what `base` sends to `remote` leaves from it, and what
            `remote` sends to it reaches `base`.
        remote: the peer's end.
    """

    base: Endpoint
    port: int
    remote: Endpoint


@dataclass(slots=True)
class _Held:
    splice: Splice
    alive_at: float


class Splices:
    """The splices in force; what is to be undone comes out of `released`."""

    def __init__(self) -> None:
        self._held: dict[PeerId, _Held] = {}
        self._orphans: dict[Splice, float] = {}
        self._released: list[Splice] = []

    @property
    def peers(self) -> tuple[PeerId, ...]:
        """Peers that have one."""
        return tuple(self._held)

    def of(self, peer: PeerId) -> Splice | None:
        """Return the splice of a peer."""
        held = self._held.get(peer)
        return None if held is None else held.splice

    def adopt(self, splices: Iterable[Splice], now: float) -> None:
        """Take what a former run has left; each finds its peer, or goes after a while."""
        self._orphans |= dict.fromkeys(splices, now)

    def claim(self, peer: PeerId, announced: Sequence[Endpoint], now: float) -> None:
        """Give a peer the orphan that leads to one of its endpoints."""
        for splice in [s for s in self._orphans if s.remote in announced]:
            del self._orphans[splice]
            self.hold(peer, splice, now)

    def hold(self, peer: PeerId, splice: Splice, now: float) -> None:
        """Note that a splice is in force; it takes the place of the peer's former one."""
        former = self.of(peer)
        if former is not None and former != splice:
            self._released.append(former)
        self._held[peer] = _Held(splice, now)

    def observe(self, peer: PeerId, report: PeerReport, now: float) -> None:
        """Take in how the pairs of a peer do; what is lost for good is released."""
        held = self._held.get(peer)
        if held is None:
            return
        for pair in report.pairs:
            ours = (pair.local, pair.remote.endpoint) == (held.splice.base, held.splice.remote)
            if ours and (pair.selected or pair.state in _ALIVE):
                held.alive_at = now
        if now - held.alive_at > LOST_FOR_GOOD:
            self.release(peer)

    def release(self, peer: PeerId) -> None:
        """Let go of the splice of a peer, if it has one."""
        held = self._held.pop(peer, None)
        if held is not None:
            self._released.append(held.splice)

    def handle_timeout(self, now: float) -> None:
        """Release orphans that nobody has claimed in time."""
        for splice, since in list(self._orphans.items()):
            if now >= since + ADOPTION:
                del self._orphans[splice]
                self._released.append(splice)

    def next_timeout(self) -> float:
        """When to call `handle_timeout` next; infinity: there are no orphans."""
        return min((since + ADOPTION for since in self._orphans.values()), default=math.inf)

    def released(self) -> list[Splice]:
        """Take the splices that are to be undone."""
        released, self._released = self._released, []
        return released
