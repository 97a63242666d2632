"""Posts what the mesh wants to be announced, when the schedule says so, and LEAVE at the end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from ..announcement import Announcement, Leave, encode
from ..directory import Directory
from ..errors import KeybaseError
from ..mesh.mesh import Mesh
from .schedule import AnnouncementSchedule

_log = logging.getLogger(__name__)

LEAVE_PATIENCE: Final = 3.0
"""Seconds that a goodbye may take; then we go without one."""


class Announcer:
    """The only one that posts.

    Args:
        post: posts one line and returns its message id; raises `KeybaseError`.
        mesh: knows what should be announced.
        directory: numbers our lines.
        on_posted: gets what was posted, and its message id; tells the mesh.
        interval: seconds between posts when nothing changes.
        wall: returns the seconds since the epoch.
    """

    def __init__(
        self,
        post: Callable[[str], Awaitable[int]],
        mesh: Mesh,
        directory: Directory,
        *,
        on_posted: Callable[[Announcement, int], None],
        interval: float,
        wall: Callable[[], float],
    ) -> None:
        self._post = post
        self._mesh = mesh
        self._directory = directory
        self._on_posted = on_posted
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._schedule = AnnouncementSchedule(interval)
        self._wake = asyncio.Event()

    def changed(self) -> None:
        """Post soon: what we announce is not what is announced."""
        self._schedule.changed(self._loop.time())
        self._wake.set()

    async def run(self) -> None:
        """Post when it is due, until cancelled."""
        while True:
            self._wake.clear()
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
        numbered = replace(wanted, seq=self._directory.next_seq(self._now_ms()))
        try:
            id_ = await self._post(encode(numbered))
        except KeybaseError as error:
            _log.debug("announcement not posted", extra={"error": str(error)})
            self._schedule.failed(self._loop.time())
            return
        _log.info("announced", extra={"id": id_, "candidates": len(wanted.candidates)})
        self._directory.note_own_post(id_)
        self._on_posted(wanted, id_)
        self._schedule.posted(self._loop.time())
        if not self._mesh.up_to_date:
            self._schedule.changed(self._loop.time())

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)
