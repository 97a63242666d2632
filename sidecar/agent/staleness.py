"""How long the team's members are believed while Keybase is away (`KBWG_MAX_STALE_SECONDS`)."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from nat.io.sleep import slept

_log = logging.getLogger(__name__)

LOOK_INTERVAL: Final = 5.0
"""Most seconds between looks at the clock: while the machine sleeps, timers do not run."""


class StalenessWatch:
    """Tells when what is known of the team is too old to let anybody in, and when it is not.

    Args:
        limit: seconds for which the members are believed once they were read; 0: for ever.
        age: how old they are at the start; `None`: nothing is known, so nobody is in anyway.
        on_change: told `True` when it is too old, `False` when it is not any more.
        asleep: returns for how many seconds the machine has slept; nobody was read meanwhile.
    """

    def __init__(
        self,
        limit: float,
        *,
        age: float | None,
        on_change: Callable[[bool], None],
        asleep: Callable[[], float] = slept,
    ) -> None:
        self._limit = limit
        self._on_change = on_change
        self._asleep = asleep
        self._loop = asyncio.get_running_loop()
        self._known_at = self._now() - (age or 0.0)
        self._read = asyncio.Event()
        self._stale = False

    def refreshed(self) -> None:
        """Note that the members have just been read."""
        self._known_at = self._now()
        self._read.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while self._limit > 0:
            self._read.clear()
            remaining = self._known_at + self._limit - self._now()
            self._tell(stale=remaining <= 0)
            pause = None if self._stale else min(remaining, LOOK_INTERVAL)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._read.wait()

    def _now(self) -> float:
        return self._loop.time() + self._asleep()

    def _tell(self, *, stale: bool) -> None:
        if stale != self._stale:
            self._stale = stale
            _log.warning("team too old to be believed" if stale else "team believed again")
            self._on_change(stale)
