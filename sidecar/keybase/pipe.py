"""A long-lived `keybase … api` process: one request at a time, in order."""

import asyncio
from collections import Counter
from typing import Any, Final

from ..errors import KeybaseError, KeybaseUnavailableError, LoggedOutError, RateLimitedError
from . import api, process

CALL_TIMEOUT: Final = 30.0
"""Seconds for one call; the CLI itself gives up on a dead network after some 40."""


class Pipe:
    """A `chat api` or `team api` process, started when it is needed.

    A call that fails for want of service or network poisons the CLI's process for ever, so
    after any such failure, time-out or strange answer the process is replaced, never reused.
    """

    def __init__(self, argv: tuple[str, ...]) -> None:
        self._argv = argv
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._noise: asyncio.Task[None] | None = None
        self._id = 0
        self.counters: Counter[str] = Counter()

    async def call(self, method: str, options: dict[str, Any]) -> dict[str, Any]:
        """Make one call.

        Raises:
            KeybaseUnavailableError: try again later; the process has been replaced.
            KeybaseError: the call was refused, or the answer makes no sense.
        """
        async with self._lock:
            try:
                return await self._exchange(method, options)
            except (LoggedOutError, RateLimitedError):
                raise  # an answer like any other: the process is sound
            except KeybaseUnavailableError:
                await self._end()
                raise
            except KeybaseError:
                raise
            except BaseException:
                # Cancelled half-way: the answer to come must not meet the next request.
                await asyncio.shield(self._end())
                raise

    async def close(self) -> None:
        """End the process."""
        async with self._lock:
            await self._end()

    async def _exchange(self, method: str, options: dict[str, Any]) -> dict[str, Any]:
        running = await self._running()
        assert running.stdin is not None
        assert running.stdout is not None
        self._id += 1
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                running.stdin.write(api.request(self._id, method, options))
                await running.stdin.drain()
                line = await running.stdout.readline()
        except TimeoutError:
            raise KeybaseUnavailableError(f"no answer to {method} in time") from None
        except (OSError, ValueError, RuntimeError) as error:
            # ValueError: a line beyond the limit. RuntimeError: uvloop's word for a process that
            # has ended between the look at it and the write.
            raise KeybaseUnavailableError(f"the pipe broke: {error}") from error
        if not line:
            raise KeybaseUnavailableError("the pipe ended")
        return api.parse_reply(line, self._id)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._end()
        self._process = await process.start(self._argv, stdin=asyncio.subprocess.PIPE)
        self.counters["spawned"] += 1
        assert self._process.stderr is not None
        # The only task here that is not in a group: it ends with the process that it listens to.
        self._noise = asyncio.get_running_loop().create_task(process.drain(self._process.stderr))
        return self._process

    async def _end(self) -> None:
        running, self._process = self._process, None
        if running is not None:
            await process.stop(running)
        if self._noise is not None:
            # Whoever inherited its standard error may hold it open for ever.
            self._noise.cancel()
            self._noise = None
