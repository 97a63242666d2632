"""Stores what the directory knows, soon after it has changed."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from .. import cache
from ..directory.directory import Directory
from ..health import Condition, Health
from ..store import Store
from .memory import give_back

DELAY: Final = 2.0
"""Seconds that a change of the directory waits to be stored with those that follow."""

RETRY: Final = 30.0
"""Seconds until what could not be stored is tried again: nobody tells that a disk has room again."""

SHARE: Final = 0.01
"""Part of the time that storing may take: a large team is stored more rarely."""


class CacheKeeper:
    """Writes the cache from which the next start knows its peers, even while chat is down.

    Args:
        store: the state directory.
        directory: what is stored.
        team: whose directory it is.
        health: told of a directory that cannot be written.
        peers_file_known: whether the directory knows `peers.json`, be it by the last cache.
    """

    def __init__(
        self,
        store: Store,
        directory: Directory,
        team: str,
        health: Health,
        *,
        peers_file_known: bool,
    ) -> None:
        self._store = store
        self._directory = directory
        self._team = team
        self._health = health
        self._dirty = asyncio.Event()
        self.peers_file_known = peers_file_known

    def changed(self) -> None:
        """Store soon."""
        self._dirty.set()

    async def run(self) -> None:
        """Store what changes, until cancelled, and then what is not stored yet.

        The next start removes from an adopted interface whom it does not know.
        """
        loop, pause = asyncio.get_running_loop(), DELAY
        try:
            while True:
                await self._dirty.wait()
                await asyncio.sleep(pause)
                self._dirty.clear()
                began = loop.time()
                stored = self._save()
                give_back()
                pause = max(DELAY, (loop.time() - began) / SHARE)
                if not stored:
                    self._dirty.set()
                    pause = max(RETRY, pause)
        finally:
            if self._dirty.is_set():
                self._save()

    def _save(self) -> bool:
        """Store the directory; whether that went well."""
        parts = cache.dump(self._directory, self._team, peers_file_known=self.peers_file_known)
        try:
            self._store.save_directory(parts)
        except OSError as error:
            text = f"the state directory cannot be written ({error.strerror})"
            self._health.set(Condition.STATE_UNWRITABLE, text, now=datetime.now(UTC))
            return False
        self._health.clear(Condition.STATE_UNWRITABLE)
        return True
