"""Asks Keybase, for ever, which devices its members still have: a revoked one must go (design S4).

A message tells of its sender's revocation only as of when it was decrypted here, so somebody has
to ask. The answer comes from the local client, which believes what it knows of a user for ten minutes
and then asks its servers again, be it for us or to decrypt what that user has just said. So there
are two kinds of questions:

* rounds: everybody in turn, evenly, and so that a whole number of rounds takes just as long as the
  client believes a user. The question that comes when that is over is the one that renews it;
* asides: whoever has just said something is asked about soon, since the client may have learnt of a
  revocation on that occasion; and everybody, once the team's key was rotated.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from ..errors import KeybaseError
from ..keybase.client import KeybaseClient

_log = logging.getLogger(__name__)

BELIEVED: Final = 600.0
"""Seconds for which the client believes a user (keybase: `CachedUserTimeout`)."""

LATE: Final = 5.0
"""Seconds after that within which the question comes: the rounds are not exact."""

INTERVAL: Final = 40.0
"""Seconds of a round at least; a device is gone within 60 of being known to be revoked."""

RATE: Final = 5.0
"""Questions a second in rounds at most: for each one the client loads a user's Merkle leaf from the
server (its `LoadUserByName` does not cache that). More than 200 members make longer rounds."""

HURRY: Final = 25.0
"""Questions a second in asides at most: a thousand members within `INTERVAL`, should they all have
spoken at once."""

SPACING: Final = 20.0
"""Seconds between two asides about a user at least, however much it says."""

IDLE: Final = 5.0
"""Seconds until another look while nobody else is in."""


def round_length(users: int) -> float:
    """Return the seconds in which everybody is asked about once.

    The least that `INTERVAL` and `RATE` allow, of which the client's belief is a multiple: were it
    half a round longer, the renewal would come half a round late.
    """
    shortest = max(INTERVAL, users / RATE)
    rounds = int((BELIEVED + LATE) / shortest)
    return (BELIEVED + LATE) / rounds if rounds else shortest


class DeviceWatch:
    """Asks about one user after the other.

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
        self._asides: dict[str, None] = {}
        self._aside_at: dict[str, float] = {}
        self._wanted = asyncio.Event()

    def heard(self, usernames: Iterable[str]) -> None:
        """Ask about these soon: they have just said something."""
        for username in usernames:
            self._asides.setdefault(username)
        self._wanted.set()

    def hurry(self) -> None:
        """Ask about everybody once, quickly: a device may just have been revoked."""
        self._aside_at.clear()
        self.heard(self._usernames())

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._go_round())
            group.create_task(self._turn_aside())

    async def _go_round(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            usernames = self._usernames()
            for username in usernames:
                await self._look(username)
                # By the clock, so that slow answers do not add up to a longer round.
                due = max(due + round_length(len(usernames)) / len(usernames), loop.time())
                await asyncio.sleep(due - loop.time())
            if not usernames:
                await asyncio.sleep(IDLE)
                due = loop.time()

    async def _turn_aside(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            now = loop.time()
            at, username = min(
                ((self._next_aside(user), user) for user in self._asides), default=(math.inf, "")
            )
            if at > now:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if at == math.inf else at - now):
                        await self._wanted.wait()
                continue
            del self._asides[username]
            self._aside_at[username] = now
            if username in self._usernames():
                await self._look(username)
                await asyncio.sleep(max(0.0, now + 1 / HURRY - loop.time()))

    def _next_aside(self, username: str) -> float:
        return self._aside_at.get(username, -SPACING) + SPACING

    async def _look(self, username: str) -> None:
        try:
            ids = await self._client.device_ids(username)
        except KeybaseError as error:
            _log.debug("devices unknown", extra={"user": username, "error": str(error)})
            return
        self._on_devices(username, frozenset(ids))
