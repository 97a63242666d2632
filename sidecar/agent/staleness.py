"""How long the team's members are believed while Keybase is away (`KBWG_MAX_STALE_SECONDS`)."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

_log = logging.getLogger(__name__)


class StalenessWatch:
    """Tells when what is known of the team is too old to let anybody in, and when it is not.

    Args:
        limit: seconds for which the members are believed once they were read; 0: for ever.
        age: how old they are at the start; `None`: nothing is known, so nobody is in anyway.
        on_change: told `True` when it is too old, `False` when it is not any more.
    """

    def __init__(
        self, limit: float, *, age: float | None, on_change: Callable[[bool], None]
    ) -> None:
        self._limit = limit
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._known_at = self._loop.time() - (age or 0.0)
        self._read = asyncio.Event()
        self._stale = False

    def refreshed(self) -> None:
        """Note that the members have just been read."""
        self._known_at = self._loop.time()
        self._read.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while self._limit > 0:
            self._read.clear()
            remaining = self._known_at + self._limit - self._loop.time()
            self._tell(stale=remaining <= 0)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self._stale else remaining):
                    await self._read.wait()

    def _tell(self, *, stale: bool) -> None:
        if stale != self._stale:
            self._stale = stale
            _log.warning("team too old to be believed" if stale else "team believed again")
            self._on_change(stale)
