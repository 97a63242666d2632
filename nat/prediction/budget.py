"""How many probes an address gets, whoever named it.

A member could announce anybody's address as its own. What one agent sends there stays within a
budget, over all peers; an address at which a campaign has succeeded belongs to a peer, and begins
anew.
"""

from collections.abc import Iterable
from typing import Final

from ..machine import IPAddress
from .easy import PROBES

BURST: Final = 4 * PROBES
"""Probes that an address may get at first: four campaigns in vain."""

RATE: Final = 2 * PROBES / 3600.0
"""Probes per second that it may get from then on: two campaigns an hour, which is what the schedule
comes to anyway."""

MAX_ADDRESSES: Final = 256
"""Addresses that are remembered; if there are more, the one that was used longest ago goes."""


class Budget:
    """What may still be sent to each address."""

    def __init__(self) -> None:
        self._spent: dict[IPAddress, tuple[float, float]] = {}

    def left(self, ip: IPAddress, now: float) -> int:
        """Return how many probes an address may get now."""
        return int(BURST - self._level(ip, now))

    def spend(self, ip: IPAddress, probes: int, now: float) -> None:
        """Note that probes have left."""
        self._spent[ip] = (self._level(ip, now) + probes, now)
        if len(self._spent) > MAX_ADDRESSES:
            del self._spent[min(self._spent, key=lambda known: self._spent[known][1])]

    def refill(self, addresses: Iterable[IPAddress]) -> None:
        """Note that a peer was reached at one of these addresses."""
        for ip in addresses:
            self._spent.pop(ip, None)

    def _level(self, ip: IPAddress, now: float) -> float:
        spent, at = self._spent.get(ip, (0.0, now))
        return max(0.0, spent - (now - at) * RATE)
