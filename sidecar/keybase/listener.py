"""`keybase chat api-listen`: what is posted from now on, pushed; it loses things (facts § 3).

It replays nothing, ends with the service, and may fall silent: `signalling` makes up for all that.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol, Self

from ..errors import KeybaseUnavailableError
from . import api, process
from .api import Pushed

_log = logging.getLogger(__name__)

BANNER: Final = b"Listening for chat notifications"

BANNER_TIMEOUT: Final = 20.0
"""Seconds until it must say that it listens."""


class Listening(Protocol):
    """Pushes, one after the other."""

    async def receive(self) -> Pushed | None:
        """Wait for the next push; `None`: something else than a message that we understand.

        Raises:
            KeybaseUnavailableError: there will be no more.
        """

    async def close(self) -> None:
        """End it; `receive` then says so."""


class Listener:
    """The process. Made by `start`."""

    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self._running = running
        self._noise: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        """Start it, and wait until it listens.

        Raises:
            KeybaseError: it does not.
        """
        running = await process.start(command, stdin=asyncio.subprocess.DEVNULL)
        listener = cls(running)
        try:
            assert running.stderr is not None
            await _wait_for_banner(running.stderr)
        except BaseException:
            await asyncio.shield(listener.close())
            raise
        # Not in a group: it ends with the process that it listens to.
        listener._noise = asyncio.get_running_loop().create_task(process.drain(running.stderr))
        return listener

    async def receive(self) -> Pushed | None:
        assert self._running.stdout is not None
        try:
            line = await self._running.stdout.readline()
        except ValueError:
            line = b""  # a line beyond the limit: listen anew
        if not line:
            raise KeybaseUnavailableError("the listener ended")
        return api.parse_event(line)

    async def close(self) -> None:
        await process.stop(self._running)
        if self._noise is not None:
            self._noise.cancel()


async def _wait_for_banner(stderr: asyncio.StreamReader) -> None:
    said = b""
    try:
        async with asyncio.timeout(BANNER_TIMEOUT):
            while line := await stderr.readline():
                if BANNER in line:
                    return
                said = line
    except (TimeoutError, ValueError):
        raise KeybaseUnavailableError("the listener does not start: timeout") from None
    raise api.error_of(said.decode("utf-8", "replace") or "the listener ended: EOF")
