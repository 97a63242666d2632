"""The Keybase CLI as calls: identity, team, files and chat of the logged-in device."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from ..errors import (
    KbfsError,
    KeybaseError,
    KeybaseUnavailableError,
    NotLoggedInError,
    RateLimitedError,
)
from . import api, process
from .budget import CallBudget, Priority
from .listener import Listener, Listening
from .models import Channel, ChatMessage, Device, Membership
from .pipe import Pipe

COMMAND_TIMEOUT: Final = 30.0
"""Seconds for one command; `status` loads the user from the network."""

FILE_TIMEOUT: Final = 20.0
"""Seconds for one file; the service itself waits 60 for a KBFS that is not there."""

MAX_FILE: Final = 16 * 2**20
"""Bytes of the largest file that is read."""

PAGE: Final = 300
"""Messages a page: the inner paging of the CLI's own reads."""

MAX_MESSAGES: Final = 12_000
"""Messages that one read looks at at most: what a thousand members say in four hours, and more."""

_MISSING: Final = "file does not exist"


class KeybaseClient:
    """Everything that the agent asks of Keybase.

    Args:
        program: the CLI, by name or path.
        home: home of the service, as whose owner the CLI is run; `None` for the CLI's own default.
    """

    def __init__(self, *, program: str = "keybase", home: Path | None = None) -> None:
        self._base: tuple[str, ...] = (program, "--no-auto-fork")
        if home is not None:
            owner = process.as_owner(home)
            self._base = (*owner, program, "--home", str(home), "--no-auto-fork")
        # A slow read must not delay a post.
        self._posts = Pipe((*self._base, "chat", "api"))
        self._reads = Pipe((*self._base, "chat", "api"))
        self._team = Pipe((*self._base, "team", "api"))
        self._counters: Counter[str] = Counter()
        self._budget = CallBudget(SystemRandom())

    @property
    def counters(self) -> Counter[str]:
        """Messages that could not be read, and processes started."""
        return self._counters + self._posts.counters + self._reads.counters + self._team.counters

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait for the service; raise `KeybaseUnavailableError` if it does not come up."""
        await self._run("ctl", "wait", "--duration", f"{max(1, round(seconds))}s", patience=seconds)

    async def device(self) -> Device:
        """Return the logged-in device.

        Raises:
            NotLoggedInError: there is none.
            KeybaseUnavailableError: service or network are away.
        """
        try:
            device = api.parse_device(await self._run("status", "--json"))
        except KeybaseUnavailableError:
            raise
        except KeybaseError:
            # A `%` anywhere in it garbles the status; the name is enough to ask for the id.
            device = await self._device_by_name()
        if device is None:
            raise NotLoggedInError("nobody is logged in to Keybase on this host")
        return device

    async def membership(self, team: str) -> Membership:
        """Return the team's active members, from its verified signature chain.

        Raises:
            TeamError: the team does not exist, or this user is not in it.
            KeybaseError: no answer, or none that makes sense.
        """
        try:
            result = await self._team.call("list-team-memberships", {"team": team})
        except KeybaseUnavailableError:
            raise
        except KeybaseError as error:
            raise api.team_error(error, team) from error
        return api.parse_membership(team, result)

    async def team_id(self, team: str) -> str:
        """Return Keybase's id of a team that this user is in.

        Raises:
            KeybaseError: no answer, or none that names the team.
        """
        return api.parse_team_id(team, await self._team.call("list-self-memberships", {}))

    async def device_ids(self, username: str) -> dict[str, str]:
        """Return a user's unrevoked devices: id to name."""
        # The users' servers are asked, not chat's: what is left of chat's tank does not matter here.
        return api.parse_device_ids(await self._reads.call("getdeviceinfo", {"username": username}))

    async def read_file(self, path: str) -> bytes | None:
        """Read a file of KBFS; `None`: KBFS says that it does not exist.

        Raises:
            KbfsError: anything else, which says nothing of the file.
        """
        try:
            return await self._run("fs", "read", path, patience=FILE_TIMEOUT)
        except KeybaseError as error:
            if _MISSING in str(error):
                return None
            raise KbfsError(str(error)) from error

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file of KBFS in one go. That it succeeds does not mean that it stays so.

        Raises:
            KbfsError: KBFS does not answer, or refuses.
        """
        try:
            await self._run("fs", "write", path, patience=FILE_TIMEOUT, stdin=content)
        except KeybaseError as error:
            raise KbfsError(str(error)) from error

    async def list_folder(self, path: str) -> tuple[str, ...]:
        """Return the names of the files in a folder of KBFS; a folder that is not there has none.

        Raises:
            KbfsError: KBFS does not answer.
        """
        try:
            output = await self._run("fs", "ls", "-1", "--nocolor", path, patience=FILE_TIMEOUT)
        except KeybaseError as error:
            if "does not exist" in str(error):
                return ()
            raise KbfsError(str(error)) from error
        return tuple(output.decode("utf-8", "replace").splitlines())

    async def join(self, channel: Channel) -> None:
        """Join a channel, made if it does not exist."""
        if not await self.join_existing(channel):
            await self._chat(self._posts, "newconv", api.target(channel), Priority.ROUTINE)
            await self._chat(self._posts, "join", api.target(channel), Priority.ROUTINE)

    async def join_existing(self, channel: Channel) -> bool:
        """Join a channel; tell whether there is one."""
        try:
            await self._chat(self._posts, "join", api.target(channel), Priority.ROUTINE)
        except KeybaseUnavailableError:
            raise
        except KeybaseError as error:
            if "no conversations matched" not in str(error):
                raise
            return False
        return True

    async def send(self, channel: Channel, body: str, priority: Priority = Priority.URGENT) -> int:
        """Post a text; return its message id."""
        options = api.target(channel, message={"body": body}, confirm_lumen_send=False)
        return api.message_id(await self._chat(self._posts, "send", options, priority))

    async def read(
        self,
        channel: Channel,
        *,
        after: int,
        history: float | None = None,
        now: float = 0.0,
        limit: int = MAX_MESSAGES,
    ) -> AsyncIterator[Sequence[ChatMessage]]:
        """Yield messages with a higher id than `after`, without marking them read.

        Page by page, the newest first: all of a large team's at once would be the most that the
        agent ever holds in memory.

        Args:
            channel: where.
            after: id of the last message that is known; 0 for all.
            history: reading stops at the first message that is older than so many seconds.
            now: seconds since the epoch by this host's clock. One that is ahead of the server's
                must not hide everything, so what is old is measured from the newest message, too.
            limit: messages that are looked at, at most, the newest ones.
        """
        cursor: str | None = None
        fetched = 0
        not_before = -math.inf
        while fetched < limit:
            pagination: dict[str, object] = {"num": PAGE}
            if cursor is not None:
                pagination["next"] = cursor
            options = api.target(
                channel, peek=True, unread_only=False, fail_offline=True, pagination=pagination
            )
            page = api.parse_page(await self._chat(self._reads, "read", options, Priority.ROUTINE))
            self._counters["message-unreadable"] += page.unreadable
            if history is not None and not_before == -math.inf and page.messages:
                not_before = min(now, page.messages[0].sent_at) - history
            wanted = [m for m in page.messages if m.id > after and m.sent_at >= not_before]
            yield wanted
            reached = page.oldest is not None and page.oldest <= after + 1
            if (
                reached
                or page.next is None
                or page.fetched == 0
                or len(wanted) < len(page.messages)
            ):
                return
            cursor, fetched = page.next, fetched + page.fetched

    @asynccontextmanager
    async def listen(self, channels: Sequence[Channel]) -> AsyncIterator[Listening]:
        """Listen to channels, our own posts included, until the context ends.

        Raises:
            KeybaseError: it does not start.
        """
        listener = await Listener.start(self._listen_command(channels))
        self._counters["spawned"] += 1
        try:
            yield listener
        finally:
            await asyncio.shield(listener.close())

    def _listen_command(self, channels: Sequence[Channel]) -> tuple[str, ...]:
        wanted = api.filters(channels)
        options = ("chat", "api-listen", "--local", "--dev", "--filter-channels", wanted)
        return (*self._base, *options)

    async def _chat(
        self, pipe: Pipe, method: str, options: dict[str, Any], priority: Priority
    ) -> dict[str, Any]:
        """Make a chat call, if there is enough left for one of this priority.

        Raises:
            RateLimitedError: there is not, or Keybase says so.
        """
        loop = asyncio.get_running_loop()
        wait = self._budget.wait(priority, loop.time())
        if wait > 0:
            self._counters["call-put-off"] += 1
            raise RateLimitedError(f"few calls are left: {method} is put off", wait)
        try:
            result = await pipe.call(method, options)
        except RateLimitedError as error:
            self._counters["rate-limited"] += 1
            self._budget.refused(error.reset, loop.time())
            raise
        self._budget.note(api.parse_tank(result), loop.time())
        return result

    async def end_service(self) -> None:
        """End the service, whoever starts it again.

        Raises:
            KeybaseError: it does not answer, or refuses.
        """
        await self._run("ctl", "stop")

    async def close(self) -> None:
        """End every process."""
        for pipe in (self._posts, self._reads, self._team):
            await pipe.close()

    async def _device_by_name(self) -> Device | None:
        who = api.parse_whoami(await self._run("whoami", "--json"))
        if who is None:
            return None
        username, name = who
        for id_, found in (await self.device_ids(username)).items():
            if found == name:
                return Device(username, id_, name)
        raise KeybaseError(f"{username} has no device {name}")

    async def _run(
        self, *args: str, patience: float = COMMAND_TIMEOUT, stdin: bytes | None = None
    ) -> bytes:
        """Run one command, which reads `stdin`, and return its standard output."""
        source = asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE
        running = await process.start((*self._base, *args), stdin=source)
        self._counters["spawned"] += 1
        try:
            async with asyncio.timeout(patience + 1):
                out, err = await running.communicate(stdin)
        except TimeoutError:
            raise KeybaseUnavailableError(f"keybase {args[0]}: timeout") from None
        except RuntimeError as error:
            # uvloop's word for a process that has ended before it was written to.
            raise KeybaseUnavailableError(f"keybase {args[0]}: ended at once") from error
        finally:
            if running.returncode is None:
                await asyncio.shield(process.stop(running))
        if running.returncode != 0:
            raise api.error_of(err.decode("utf-8", "replace") or "failed without a word")
        if len(out) > MAX_FILE:
            raise KeybaseError("the output is too long")
        return out
