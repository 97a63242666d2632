"""A Keybase service that pushes nothing any more is ended, so that another one is started.

It was seen to fall silent after hours, whatever one did with the listener, until it was started
again (keybase facts § 9). Only where the supervisor keeps it: nobody else's is ours to end. Reads
go on meanwhile, so there is no hurry, and it must not become a habit.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import KeybaseError

_log = logging.getLogger(__name__)

PATIENCE: Final = 600.0
"""Seconds that it may be deaf: longer than until another listener is tried."""

INTERVAL: Final = 3600.0
"""Seconds between two renewals at least: a start loads everything anew, and logs in."""


class ServiceRenewal:
    """Ends the service when it has been deaf for long.

    Args:
        end: ends the service; raises `KeybaseError`.
    """

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end = end
        self._changed = asyncio.Event()
        self._deaf = False

    def note(self, *, deaf: bool) -> None:
        """Take in whether it is deaf."""
        if deaf != self._deaf:
            self._deaf = deaf
            self._changed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._stays_deaf()
            _log.warning("keybase pushes nothing, its service is ended to begin anew")
            try:
                await self._end()
            except KeybaseError as error:
                _log.warning("keybase service not ended", extra={"error": str(error)})
            await asyncio.sleep(INTERVAL)

    async def _stays_deaf(self) -> None:
        """Return once it has been deaf without a break."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(PATIENCE if self._deaf else None):
                    await self._changed.wait()
            except TimeoutError:
                return
