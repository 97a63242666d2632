"""Asks Keybase, for ever, which devices its members still have: a revoked one must go (design S4).

A message tells of its sender's revocation only as of when it was decrypted here, so somebody has
to ask. The answer comes from the local client, which may itself be some ten minutes behind.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import KeybaseError
from ..keybase.client import KeybaseClient

_log = logging.getLogger(__name__)

INTERVAL: Final = 40.0
"""Seconds in which every user is asked about once; a device is gone within 60 of being known to
be revoked."""

RATE: Final = 5.0
"""Questions a second at most: the client loads a user's Merkle leaf from the server for each one
(its `LoadUserByName` does not cache that). More than 200 members take longer than `INTERVAL`."""

HURRY: Final = 25.0
"""Questions a second once the team's key was rotated, as it is after a revocation: a thousand
members within `INTERVAL`."""

IDLE: Final = 5.0
"""Seconds until another look while nobody else is in."""


class DeviceWatch:
    """Asks about one user after the other, evenly, so that a thousand are no burst.

    Args:
        client: Keybase.
        usernames: returns whose devices matter at present.
        on_devices: gets a user and the ids of all devices that are not revoked.
    """

    def __init__(
        self,
        client: KeybaseClient,
        *,
        usernames: Callable[[], Sequence[str]],
        on_devices: Callable[[str, frozenset[str]], None],
    ) -> None:
        self._client = client
        self._usernames = usernames
        self._on_devices = on_devices
        self._hurried = 0

    def hurry(self) -> None:
        """Ask about everybody once, quickly: a device may just have been revoked."""
        self._hurried = len(self._usernames())

    async def run(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            usernames = self._usernames()
            for username in usernames:
                began = loop.time()
                await self._look(username)
                pause = self._pause(len(usernames))
                await asyncio.sleep(max(0.0, began + pause - loop.time()))
            if not usernames:
                await asyncio.sleep(IDLE)

    def _pause(self, users: int) -> float:
        """Return the seconds between two questions, and count one."""
        rate = HURRY if self._hurried else RATE
        self._hurried = max(0, self._hurried - 1)
        return max(1.0 / rate, INTERVAL / users)

    async def _look(self, username: str) -> None:
        try:
            ids = await self._client.device_ids(username)
        except KeybaseError as error:
            _log.debug("devices unknown", extra={"user": username, "error": str(error)})
            return
        self._on_devices(username, frozenset(ids))
