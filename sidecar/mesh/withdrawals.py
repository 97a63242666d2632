"""Announcements that were edited or deleted: their devices have a moment to say it again.

Who deletes a line of chat, or a whole history, does not mean to cut anybody off: that takes LEAVE,
or the team's members. A host whose line is gone makes another at once (`agent.announcer`); until it
has come, its tunnel stays.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from ..identity import NodeId

GRACE: Final = 30.0
"""Seconds until a device whose announcement was withdrawn is dropped. A running one announces
itself again within a second, or within a minute's fraction if many have to."""


class Withdrawals:
    """Which devices may stay though nothing that they said counts any more."""

    def __init__(self) -> None:
        self._until: dict[NodeId, float] = {}
        self._over: set[NodeId] = set()

    def keep(self, withdrawn: AbstractSet[NodeId], now: float) -> None:
        """Take in whose announcements are withdrawn at present."""
        self._until = {node: until for node, until in self._until.items() if node in withdrawn}
        self._over &= withdrawn
        for node in withdrawn - self._until.keys() - self._over:
            self._until[node] = now + GRACE

    def may_stay(self, node: NodeId) -> bool:
        """Whether a device is given time."""
        return node in self._until

    def handle_timeout(self, now: float) -> bool:
        """Let go who has not spoken again in time; tell whether there is somebody."""
        over = {node for node, until in self._until.items() if until <= now}
        for node in over:
            del self._until[node]
        self._over |= over
        return bool(over)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next."""
        return min(self._until.values(), default=None)
