"""The announce channel: every message once, soon after it was posted.

`api-listen` pushes, and loses: it replays nothing, ends with the service, and may fall silent.
So each start of it is followed by a read, a slow periodic read finds what was lost, and a read
that finds what listen should have delivered restarts it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from ..errors import KeybaseError
from . import api, process
from .client import KeybaseClient
from .models import Channel, ChatMessage

_log = logging.getLogger(__name__)

HISTORY: Final = 4 * 3600.0
"""Seconds of history that a start reads: two leases and an hour, so that seniority is seen."""

RECONCILE: Final = 60.0
"""Seconds between reads while listen works."""

FIRST_RETRY: Final = 0.5
LAST_RETRY: Final = 30.0
"""Seconds until another try while Keybase is away; doubles, with jitter."""

BANNER: Final = b"Listening for chat notifications"
BANNER_TIMEOUT: Final = 20.0
"""Seconds until listen must say that it listens."""

REMEMBERED: Final = 20_000
"""Ids of delivered messages that are kept, to deliver none twice."""


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """Whether chat works; `error` is the last failure while it does not."""

    connected: bool = False
    error: str | None = None


class AnnounceChannel:
    """Reads one channel for ever, and posts to it.

    Args:
        client: Keybase.
        channel: where announcements are.
        wall: returns the seconds since the epoch.
        on_health: told of every change.
    """

    def __init__(
        self,
        client: KeybaseClient,
        channel: Channel,
        *,
        wall: Callable[[], float],
        on_health: Callable[[ChannelHealth], None],
    ) -> None:
        self._client = client
        self._channel = channel
        self._wall = wall
        self._on_health = on_health
        self._health = ChannelHealth()
        self._delivered: dict[int, None] = {}
        self._head = 0
        self._pushed = 0
        self._deliver: Callable[[Sequence[ChatMessage]], None] = _nowhere

    async def post(self, body: str) -> int:
        """Post a text; return its message id; raise `KeybaseError`."""
        return await self._client.send(self._channel, body)

    async def run(self, deliver: Callable[[Sequence[ChatMessage]], None]) -> None:
        """Deliver messages until cancelled; Keybase's troubles are health, not errors."""
        self._deliver = deliver
        pause = FIRST_RETRY
        while True:
            try:
                await self._client.join(self._channel)
                # At once, since listen takes its time to start; its own read comes after.
                await self._catch_up()
                pause = FIRST_RETRY
                await self._listen()
                error: str | None = "the listener ended"
            except KeybaseError as caught:
                error = str(caught)
            self._set_health(ChannelHealth(connected=False, error=error))
            await asyncio.sleep(pause * (0.75 + 0.5 * random.random()))  # noqa: S311 - jitter
            pause = min(2 * pause, LAST_RETRY)

    async def _listen(self) -> None:
        """Run one listener until it ends or turns out to be deaf."""
        command = self._client.listen_command((self._channel,))
        running = await process.start(command, stdin=asyncio.subprocess.DEVNULL)
        try:
            assert running.stderr is not None
            await _wait_for_banner(running.stderr)
            async with asyncio.TaskGroup() as group:
                noise = group.create_task(_drain(running.stderr))
                watch = group.create_task(self._reconcile(running))
                await self._read_events(running)
                watch.cancel()
                await process.stop(running)
                noise.cancel()
        finally:
            await asyncio.shield(process.stop(running))

    async def _read_events(self, running: asyncio.subprocess.Process) -> None:
        assert running.stdout is not None
        with suppress(ValueError):  # a line beyond the limit: listen anew
            while line := await running.stdout.readline():
                message = api.parse_event(line)
                if message is not None:
                    self._pushed = max(self._pushed, message.id)
                    self._hand_over([message])

    async def _reconcile(self, running: asyncio.subprocess.Process) -> None:
        """Read after the start and then periodically; end a listener that misses messages."""
        while True:
            known = self._head
            try:
                await self._catch_up()
            except KeybaseError as error:
                self._set_health(ChannelHealth(connected=False, error=str(error)))
            else:
                if known and self._pushed and self._head > max(known, self._pushed):
                    _log.warning("listener is deaf, started again")
                    running.kill()
                    return
            await asyncio.sleep(RECONCILE)

    async def _catch_up(self) -> None:
        not_before = self._wall() - HISTORY if self._head == 0 else None
        # A few of the last messages again: what came in out of order is below the head.
        after = max(0, self._head - 50)
        messages = await self._client.read(self._channel, after=after, not_before=not_before)
        self._hand_over(messages)
        self._set_health(ChannelHealth(connected=True))

    def _hand_over(self, messages: Sequence[ChatMessage]) -> None:
        fresh = [message for message in messages if message.id not in self._delivered]
        if not fresh:
            return
        for message in fresh:
            self._delivered[message.id] = None
            self._head = max(self._head, message.id)
        while len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        self._deliver(sorted(fresh, key=lambda message: message.id))

    def _set_health(self, health: ChannelHealth) -> None:
        if health.connected == self._health.connected and health.connected:
            return
        self._health = replace(health)
        self._on_health(health)


def _nowhere(_: Sequence[ChatMessage]) -> None:
    """Take messages before anybody wants them."""


async def _wait_for_banner(stderr: asyncio.StreamReader) -> None:
    said = b""
    try:
        async with asyncio.timeout(BANNER_TIMEOUT):
            while line := await stderr.readline():
                if BANNER in line:
                    return
                said = line
    except TimeoutError:
        raise api.error_of("the listener does not start: timeout") from None
    raise api.error_of(said.decode("utf-8", "replace") or "the listener ended: EOF")


async def _drain(stream: asyncio.StreamReader) -> None:
    while chunk := await stream.read(4096):
        _log.debug("keybase says", extra={"text": chunk.decode("utf-8", "replace")[:500]})
