"""Every message of our channels, soon after it was posted, whatever Keybase does meanwhile.

`api-listen` pushes, and loses: it replays nothing, ends with the service, and may fall silent.
So each start of it is followed by a read, a slow periodic read finds what was lost, and a read
that finds what should have been pushed starts the listener anew; if that does not help, reads
become frequent until it does. A channel that can be heard but not read is heard nevertheless.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..errors import KeybaseError, KeybaseUnavailableError, RateLimitedError
from .client import KeybaseClient
from .listener import Listening
from .models import Channel
from .reader import ChannelReader, Feed

_log = logging.getLogger(__name__)

RECONCILE: Final = 60.0
"""Seconds between reads while listen works."""

DEAF_RECONCILE: Final = 15.0
"""The same while nothing is pushed: a peer's new address is known within these."""

GRACE: Final = 5.0
"""Seconds that a push may come after a read has found its message."""

DEAF: Final = 2
"""Listeners in a row that heard nothing of what was read: then it is not the listener's fault."""

LOOK_SPACING: Final = 2.0
"""Seconds between reads at least, whatever happens: somebody may make it happen."""

FIRST_REJOIN: Final = 10.0
"""Seconds until we look for the first time for a channel that did not exist: teams begin together.
Doubles up to `REJOIN`."""

REJOIN: Final = 300.0
"""Seconds until we look again for a channel that did not exist, or would not let us in, and until
we try another listener while none hears anything."""

FIRST_RETRY: Final = 0.5
LAST_RETRY: Final = 30.0
"""Seconds until another try while Keybase is away; doubles, with jitter."""


@dataclass(frozen=True, slots=True)
class SignallingHealth:
    """Whether chat works.

    Attributes:
        connected: the channels that we need can be read.
        error: the last failure while they cannot.
        deaf: they can, and nothing is pushed.
        complete: of each channel it is known what it says, or that it says nothing to us. Whoever
            is not heard of until then may only be announced elsewhere.
    """

    connected: bool = False
    error: KeybaseError | None = None
    deaf: bool = False
    complete: bool = False


class Signalling:
    """Follows some channels for ever.

    Args:
        client: Keybase.
        feeds: what is followed; those that are needed first.
        wall: returns the seconds since the epoch.
        on_health: told of every change, and of every failure.
    """

    def __init__(
        self,
        client: KeybaseClient,
        feeds: Sequence[Feed],
        *,
        wall: Callable[[], float],
        on_health: Callable[[SignallingHealth], None],
    ) -> None:
        self._client = client
        self._readers = [ChannelReader(client, feed, wall=wall) for feed in feeds]
        self._on_health = on_health
        self._health = SignallingHealth()
        self._tried: set[ChannelReader] = set()
        self._deaf = 0
        self._renewing = False
        self._looks = asyncio.Event()
        self._retry = FIRST_RETRY

    def look(self) -> None:
        """Read soon: something has happened to the network."""
        self._looks.set()

    async def run(self) -> None:
        """Deliver messages until cancelled; Keybase's troubles are health, not errors."""
        while True:
            try:
                await self._enter()
                await self._follow()
            except KeybaseError as error:
                await self._rest_after(error)

    async def _enter(self) -> None:
        """Join and read; what is needed first, and at once, since listen takes its time."""
        for reader in self._readers:
            try:
                await reader.enter()
                await self._read_or_go_on([reader])
            except KeybaseError as error:
                if reader.feed.needed:
                    raise
                _log.debug("channel not followed", extra=_fields(reader, error))
                if not isinstance(error, KeybaseUnavailableError):
                    self._has_tried(reader)
            else:
                if reader.feed.needed:
                    self._retry = FIRST_RETRY

    async def _follow(self) -> None:
        """Run one listener until it ends, or turns out to be deaf.

        Raises:
            KeybaseError: it ended by itself, or did not start.
        """
        present = {reader.feed.channel: reader for reader in self._readers if reader.present}
        async with self._client.listen(tuple(present)) as listening:
            ended: KeybaseError | None = None
            self._renewing = False
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(listening))
                try:
                    await self._hear(listening, present)
                except KeybaseError as error:
                    ended = error
                watch.cancel()
            if ended is not None and not self._renewing:
                raise ended

    async def _hear(self, listening: Listening, readers: dict[Channel, ChannelReader]) -> None:
        while True:
            pushed = await listening.receive()
            if pushed is None:
                # Something was posted that could not be shown: a read may show more.
                self.look()
                continue
            self._set_deaf(0)
            if (reader := readers.get(pushed.channel)) is not None:
                reader.hear(pushed.message)

    async def _watch(self, listening: Listening) -> None:
        """Read after the start and then periodically; end a listener that misses messages."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + REJOIN
        rejoin_pause = FIRST_REJOIN
        rejoin = loop.time() + rejoin_pause
        begun = False
        retry = FIRST_RETRY
        while True:
            absent = not all(reader.present for reader in self._readers)
            if absent and loop.time() >= rejoin:
                rejoin_pause = min(2 * rejoin_pause, REJOIN)
                rejoin = loop.time() + rejoin_pause
                if await self._enter_more():
                    await self._renew(listening)
                    return
            pause = DEAF_RECONCILE if self._deaf >= DEAF else RECONCILE
            try:
                await self._read_or_go_on(self._readers)
            except KeybaseError as error:
                pause = _pause(error, retry)
                retry = min(2 * retry, LAST_RETRY)
            else:
                retry = FIRST_RETRY
                if not begun:
                    begun = True
                    for reader in self._readers:
                        reader.begin_to_listen()
                elif await self._is_deaf() and (self._deaf < DEAF or loop.time() > patience):
                    _log.warning("listener is deaf, started again")
                    self._set_deaf(self._deaf + 1)
                    await self._renew(listening)
                    return
            await self._rest(min(pause, max(0.0, rejoin - loop.time())) if absent else pause)

    async def _enter_more(self) -> bool:
        """Look for channels that were not there; tell whether one is now."""
        absent = [reader for reader in self._readers if not reader.present]
        for reader in absent:
            try:
                await reader.enter()
            except KeybaseError as error:
                _log.debug("channel not followed", extra=_fields(reader, error))
        return any(reader.present for reader in absent)

    async def _renew(self, listening: Listening) -> None:
        """End a listener on purpose: another one follows at once."""
        self._renewing = True
        await listening.close()

    async def _is_deaf(self) -> bool:
        missing = [(reader, reader.unheard) for reader in self._readers if reader.unheard]
        if not missing:
            return False
        await asyncio.sleep(GRACE)
        return any(reader.unheard & ids for reader, ids in missing)

    async def _read_or_go_on(self, readers: Sequence[ChannelReader]) -> None:
        """Read channels; one that cannot be read though Keybase is there may still be heard.

        Raises:
            KeybaseUnavailableError: Keybase is away.
        """
        for reader in readers:
            try:
                await reader.catch_up()
            except KeybaseUnavailableError as error:
                self._tell(SignallingHealth(error=error))
                raise
            except KeybaseError as error:
                _log.debug("channel not read", extra=_fields(reader, error))
                if reader.feed.needed:
                    self._tell(SignallingHealth(error=error))
                self._has_tried(reader)
            else:
                self._tried.add(reader)
                if reader.feed.needed or self._health.connected:
                    self._tell_connected()

    async def _rest_after(self, error: KeybaseError) -> None:
        self._tell(SignallingHealth(error=error))
        await asyncio.sleep(_pause(error, self._retry))
        self._retry = min(2 * self._retry, LAST_RETRY)

    async def _rest(self, pause: float) -> None:
        self._looks.clear()
        await asyncio.sleep(min(pause, LOOK_SPACING))
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause - LOOK_SPACING)):
                await self._looks.wait()

    def _set_deaf(self, count: int) -> None:
        self._deaf = count
        if self._health.connected:
            self._tell_connected()

    def _has_tried(self, reader: ChannelReader) -> None:
        """Note a channel that will not tell us anything, for now or for ever."""
        self._tried.add(reader)
        if self._health.connected:
            self._tell_connected()

    def _tell_connected(self) -> None:
        complete = len(self._tried) == len(self._readers)
        self._tell(SignallingHealth(connected=True, deaf=self._deaf >= DEAF, complete=complete))

    def _tell(self, health: SignallingHealth) -> None:
        if health != self._health or not health.connected:
            self._health = health
            self._on_health(health)


def _pause(error: KeybaseError, pause: float) -> float:
    """Return for how long to wait after a failure; a refusal says it itself."""
    least = error.reset if isinstance(error, RateLimitedError) else 0.0
    return max(least, pause * (0.75 + 0.5 * random.random()))  # noqa: S311 - jitter


def _fields(reader: ChannelReader, error: KeybaseError) -> dict[str, str]:
    return {"channel": reader.feed.channel.topic, "error": str(error)}
