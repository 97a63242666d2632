"""When each of many things is due: the soonest without looking at all of them."""

import heapq
import math
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT")

SLACK: Final = 64
"""Entries that may be out of date beyond the live ones, before the heap is made anew."""


class Deadlines(Generic[KeyT]):
    """A deadline for each key, in seconds of the owner's clock.

    Keys that are due come in the order in which they were first set, whatever their deadlines, so
    that a run can be replayed.
    """

    def __init__(self) -> None:
        self._deadlines: dict[KeyT, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._orders: dict[KeyT, int] = {}
        self._count = 0

    def set(self, key: KeyT, deadline: float | None) -> None:
        """Set or move a deadline; `None` or infinity: never."""
        order = self._orders.get(key)
        if order is None:
            order = self._orders[key] = self._count
            self._count += 1
        if deadline is None or deadline == math.inf:
            self._deadlines.pop(key, None)
            return
        entry = (deadline, order)
        if self._deadlines.get(key) == entry:
            return
        self._deadlines[key] = entry
        heapq.heappush(self._heap, (deadline, order, key))
        if len(self._heap) > 2 * len(self._deadlines) + SLACK:
            self._heap = [(*found, key) for key, found in self._deadlines.items()]
            heapq.heapify(self._heap)

    def discard(self, key: KeyT) -> None:
        """Forget a key."""
        self._deadlines.pop(key, None)
        self._orders.pop(key, None)

    def soonest(self) -> float | None:
        """Return the earliest deadline; `None`: nothing is ever due."""
        while self._heap:
            deadline, order, key = self._heap[0]
            if self._deadlines.get(key) == (deadline, order):
                return deadline
            heapq.heappop(self._heap)
        return None

    def due(self, now: float) -> list[KeyT]:
        """Return the keys whose deadline has come; they stay due until they are set again."""
        found: dict[KeyT, tuple[float, int, KeyT]] = {}
        while self._heap and self._heap[0][0] <= now:
            deadline, order, key = entry = heapq.heappop(self._heap)
            if self._deadlines.get(key) == (deadline, order):
                found[key] = entry
        for entry in found.values():
            heapq.heappush(self._heap, entry)
        return sorted(found, key=lambda key: self._orders[key])
