"""Posts what the mesh wants to be announced, when the schedule says so, and LEAVE at the end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Final

from ..announcement import Announcement, Leave, encode
from ..directory.directory import Directory
from ..errors import IdentityChangedError, KeybaseError, RateLimitedError
from ..identity import NodeId
from ..keybase.models import ChatMessage
from ..mesh.mesh import Mesh
from .schedule import AnnouncementSchedule
from .server_clock import ServerClock

_log = logging.getLogger(__name__)

LEAVE_PATIENCE: Final = 3.0
"""Seconds that a goodbye may take; then we go without one."""

REMEMBERED: Final = 32
"""Messages whose senders are kept, the latest ones."""

SPREAD: Final = 60.0
"""Seconds over which a whole team announces itself anew when its history was deleted."""


class Announcer:
    """The only one that posts.

    Args:
        post: posts one line and returns its message id; raises `KeybaseError`.
        mesh: knows what should be announced.
        directory: numbers our lines.
        own: this device.
        on_posted: gets what was posted, and its message id; tells the mesh.
        on_trouble: told why a post failed, and `None` when one has succeeded.
        interval: seconds between posts when nothing changes.
        clock: numbers our lines, and hears of them when they come back.
        rng: source of the time of a refresh that others make, too.
    """

    def __init__(
        self,
        post: Callable[[str], Awaitable[int]],
        mesh: Mesh,
        directory: Directory,
        *,
        own: NodeId,
        on_posted: Callable[[Announcement, int], None],
        on_trouble: Callable[[KeybaseError | None], None],
        interval: float,
        clock: ServerClock,
        rng: Random,
    ) -> None:
        self._post = post
        self._mesh = mesh
        self._directory = directory
        self._on_posted = on_posted
        self._on_trouble = on_trouble
        self._clock = clock
        self._rng = rng
        self._own = own
        self._last_id: int | None = None
        self._senders: dict[int, NodeId] = {}
        self._stranger: NodeId | None = None
        self._loop = asyncio.get_running_loop()
        self._schedule = AnnouncementSchedule(interval)
        self._wake = asyncio.Event()

    def changed(self) -> None:
        """Post soon: what we announce is not what is announced."""
        self._schedule.changed(self._loop.time())
        self._wake.set()

    def handle_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Take in what became of our lines: they come back, or are withdrawn by somebody."""
        for message in messages:
            if message.text is not None:
                self._clock.came_back(message.text, message.sent_at)
                self._note_sender(message)
            if self._last_id is None:
                continue
            if message.edits == self._last_id or self._last_id in message.deletes:
                _log.info("our announcement was withdrawn, posted again")
                self._last_id = None
                self.changed()
            elif message.vanished is not None and message.vanished > self._last_id:
                # So was everybody's: newcomers must hear of all of us, but not at once.
                self._last_id = None
                now = self._loop.time()
                self._schedule.refresh_by(now + self._rng.uniform(0.0, SPREAD), now)
                self._wake.set()

    async def run(self) -> None:
        """Post when it is due, until cancelled.

        Raises:
            IdentityChangedError: what we post is another device's: somebody has logged in anew.
        """
        while True:
            self._wake.clear()
            if self._stranger is not None:
                raise IdentityChangedError(
                    f"what {self._own} posts is attested to {self._stranger} now: another login"
                )
            now = self._loop.time()
            if self._schedule.take(now):
                await self._announce()
                continue
            due = self._schedule.next_timeout()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                    await self._wake.wait()

    async def say_goodbye(self) -> None:
        """Post LEAVE, so that peers drop us at once; give up after a short while."""
        if self._directory.view().clones.yields:
            return  # it would be the goodbye of the other agent that is this device
        leave = Leave(self._directory.next_seq(self._now_ms()))
        try:
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self._post(encode(leave))
        except (KeybaseError, TimeoutError) as error:
            _log.warning("left without a goodbye", extra={"error": str(error) or "timeout"})

    async def _announce(self) -> None:
        wanted = self._mesh.announcement
        if wanted is None:
            self._schedule.posted(self._loop.time())
            return
        seq, run = self._directory.next_seq(self._now_ms()), self._directory.own_run
        numbered = replace(wanted, seq=seq, run=run)
        line = encode(numbered)
        self._clock.posting(line)
        try:
            id_ = await self._post(line)
        except KeybaseError as error:
            _log.debug("announcement not posted", extra={"error": str(error)})
            least = error.reset if isinstance(error, RateLimitedError) else 0.0
            self._schedule.failed(self._loop.time(), least)
            self._on_trouble(error)
            return
        self._last_id = id_
        self._check_sender(id_)
        self._on_trouble(None)
        _log.info("announced", extra={"id": id_, "candidates": len(wanted.candidates)})
        self._directory.note_own_post(id_)
        self._on_posted(wanted, id_)
        self._schedule.posted(self._loop.time())
        if not self._mesh.up_to_date:
            self._schedule.changed(self._loop.time())

    def _note_sender(self, message: ChatMessage) -> None:
        """Remember who said what: a push of our line may come before we know its id."""
        if message.sender is None:
            return
        self._senders[message.id] = message.sender
        while len(self._senders) > REMEMBERED:
            del self._senders[next(iter(self._senders))]
        if message.id == self._last_id:
            self._check_sender(message.id)

    def _check_sender(self, id_: int) -> None:
        sender = self._senders.get(id_, self._own)
        if sender != self._own:
            self._stranger = sender
            self._wake.set()

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)
