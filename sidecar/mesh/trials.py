"""How long each of several devices that announce one key is given to prove that it holds it."""

from collections.abc import Iterable
from typing import Final

from nat.deadlines import Deadlines

from ..identity import PublicKey

TRIAL: Final = 20.0
"""Seconds: a direct path is found in two, one over a relay or a slow line in ten."""


class Trials:
    """The disputed keys, and when the next claimant has its turn."""

    def __init__(self) -> None:
        self._deadlines: Deadlines[PublicKey] = Deadlines()
        self._under_way: set[PublicKey] = set()

    def keep(self, disputed: Iterable[PublicKey], now: float) -> None:
        """Begin the trials of keys that are disputed, end those of others."""
        wanted = set(disputed)
        for key in self._under_way - wanted:
            self.end(key)
        for key in sorted(wanted - self._under_way):
            self._under_way.add(key)
            self._deadlines.set(key, now + TRIAL)

    def end(self, key: PublicKey) -> None:
        """End a trial: the key is proven, or nobody disputes it any more."""
        self._under_way.discard(key)
        self._deadlines.discard(key)

    def due(self, now: float) -> list[PublicKey]:
        """Take the keys whose holder has not proved it in time; the next one's trial begins."""
        failed = self._deadlines.due(now)
        for key in failed:
            self._deadlines.set(key, now + TRIAL)
        return failed

    def next_timeout(self) -> float | None:
        """When to call `due` next."""
        return self._deadlines.soonest()
