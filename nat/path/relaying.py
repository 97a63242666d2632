"""What the relayed pairs of one peer need of our relays, and the checks that wait for it.

A check that we answer is a promise that data will get through, too. Data of a relayed pair of ours
takes a channel that has been plugged into the data plane, so a check on such a pair is answered
when that has been done, and until then kept. A round trip to the server is all that it takes.
"""

from collections.abc import Callable
from typing import Final

from ..machine import Datagram, Endpoint, IPAddress
from ..stun.message import StunMessage
from ..turn.relay import RelayWishes
from .checklist import Checklist
from .checks import Check
from .pair import Pair, PairKey

MAX_CHANNELS: Final = 4
"""Relayed pairs of one peer that have a channel and a socket: the peer's address by both of our
relays, and by both of them each of the peer's."""

ALIVE_FOR: Final = 120.0
"""Seconds for which a check of the peer keeps a channel that nothing else needs."""

HELD_FOR: Final = 2.0
"""Seconds for which a check can be answered: the peer has repeated it since."""


class Relaying:
    """Part of a `PathAgent`."""

    def __init__(self, *, checklist: Checklist) -> None:
        self._checklist = checklist
        self._plugs: dict[PairKey, Endpoint] = {}
        self._held: dict[PairKey, tuple[Check, StunMessage, Datagram, float]] = {}

    def plug(self, key: PairKey, loopback: Endpoint) -> None:
        """Note where the data plane reaches the channel of a pair."""
        self._plugs[key] = loopback

    def plugged(self, key: PairKey) -> bool:
        """Whether the channel of a pair is plugged in."""
        return key in self._plugs

    def unplug(self, key: PairKey, now: float) -> None:
        """Note that it does not any more; what it carried must go elsewhere."""
        self._plugs.pop(key, None)
        pair = self._checklist.get(key)
        if pair is not None and pair.data is not None and pair.relayed_by_us:
            pair.data = None
            if pair.valid:
                pair.fail(now)

    def step(self) -> None:
        """Let pairs know their plugs: one may be younger than its channel."""
        for key, loopback in self._plugs.items():
            pair = self._checklist.get(key)
            if pair is not None:
                pair.data = loopback

    def hold(
        self, pair: Pair | None, check: Check, message: StunMessage, datagram: Datagram, now: float
    ) -> bool:
        """Keep a check that must not be answered yet; whether this is one."""
        if pair is None or pair.data is not None:
            return False
        self._held[check.key] = (check, message, datagram, now)
        return True

    def release(self, now: float, answer: Callable[[Check, StunMessage, Datagram], None]) -> None:
        """Answer what has been held for pairs that have been plugged in."""
        for key, (check, message, datagram, since) in list(self._held.items()):
            pair = self._checklist.get(key)
            if pair is None or now - since > HELD_FOR:
                del self._held[key]
            elif pair.data is not None:
                del self._held[key]
                answer(check, message, datagram)

    def wishes(self, nominated: PairKey | None, now: float) -> RelayWishes:
        """Return what our relays should do for this peer.

        Args:
            nominated: the pair that the peer wants to be used, if it is the one who decides.
            now: current time in seconds.
        """
        relayed = [pair for pair in self._checklist if pair.relayed_by_us]
        if not relayed:
            return _NOTHING
        wanted = [pair for pair in relayed if pair.valid or _heard(pair, now)]
        wanted.sort(
            key=lambda pair: (
                not pair.selected,
                pair.key != nominated,
                not pair.valid,
                pair.relay_hops,
                -pair.priority,
            )
        )
        permissions: set[tuple[Endpoint, IPAddress]] = {
            (pair.key.base, pair.key.remote.ip) for pair in relayed
        }
        channels = {(pair.key.base, pair.key.remote) for pair in wanted[:MAX_CHANNELS]}
        return RelayWishes(frozenset(permissions), frozenset(channels))


_NOTHING: Final = RelayWishes()


def _heard(pair: Pair, now: float) -> bool:
    return pair.heard_at is not None and now - pair.heard_at < ALIVE_FOR
