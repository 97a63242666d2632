"""One program that is kept running: started, its lines written, started again when it dies."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ..errors import SupervisorError
from .backoff import Backoff
from .credentials import Preparation
from .output import Output

_log = logging.getLogger(__name__)

NOT_RUN: Final = 126
"""Status of a program that could not be run this time, as a shell has it."""

LINE_LIMIT: Final = 1 << 20
"""Bytes of the longest line that is shown; what is longer is cut into several."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a program is run.

    Attributes:
        user: uid and gid to change to; `None`: those that we have.
        prepare: runs in the child before the program.
        grace: seconds between SIGTERM and SIGKILL.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    user: tuple[int, int] | None = None
    prepare: Preparation | None = None
    grace: float = 10.0


async def spawn(command: Command, *, stdin: int) -> asyncio.subprocess.Process:
    """Start a program; what it prints goes into one pipe.

    Raises:
        SupervisorError: it cannot be run.
    """
    uid, gid = command.user or (None, None)
    try:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(command.environment),
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            preexec_fn=command.prepare,
            # A signal to our group is for us alone: we end the programs in their order.
            start_new_session=True,
            limit=LINE_LIMIT,
        )
    except OSError as error:
        raise SupervisorError(f"{command.argv[0]} cannot be run: {error.strerror}") from error


class Program:
    """A program that is started again when it dies.

    Args:
        command: how to run it.
        output: where its lines go.
        final: exit statuses that are not a death; `run` returns them.
        on_start: awaited after each start, while the program runs; it is cancelled by its death.
    """

    def __init__(
        self,
        command: Command,
        output: Output,
        *,
        final: frozenset[int] = frozenset(),
        on_start: Callable[[], Coroutine[None, None, None]] | None = None,
    ) -> None:
        self._command = command
        self._output = output
        self._final = final
        self._on_start = on_start
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = asyncio.Event()
        self.starts = 0

    @property
    def name(self) -> str:
        """Name of the program in the log."""
        return self._command.name

    async def run(self) -> int:
        """Keep it running until it ends with a final status, or until `stop`; returns its status.

        What has run once is there. That it cannot be started again, for want of memory or of a
        process, passes, and is no reason to end the others.

        Raises:
            SupervisorError: it cannot be run at all.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while True:
            began = loop.time()
            try:
                code = await self._live()
            except SupervisorError as error:
                if self.starts == 0:
                    raise
                _log.warning("program not started", extra={"error": str(error)})
                code = NOT_RUN
            if self._stopped.is_set() or code in self._final:
                return code
            pause = backoff.pause_after(loop.time() - began)
            _log.warning(
                "program died",
                extra={"program": self.name, "status": _describe(code), "again_in": pause},
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopped.wait()
                return code

    async def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self._stopped.set()
        if self._process is not None:
            await self._end(self._process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._command.grace):
                await process.wait()
        except TimeoutError:
            _log.warning("program does not end, killed", extra={"program": self.name})
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _live(self) -> int:
        self._process = process = await spawn(self._command, stdin=asyncio.subprocess.DEVNULL)
        self.starts += 1
        assert process.stdout is not None
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._show(process.stdout))
            started = group.create_task(self._on_start()) if self._on_start else None
            if self._stopped.is_set():
                # It was being started when `stop` found nothing to end yet.
                await self._end(process)
            code = await process.wait()
            if started is not None:
                started.cancel()
            # A daemon that it left behind may hold the pipe for ever.
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.wait([reading])
            reading.cancel()
        return code

    async def _show(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
                if not line:
                    return
            except asyncio.LimitOverrunError as error:
                line = await stream.readexactly(error.consumed)
            self._output.line(self.name, line.decode("utf-8", "replace").rstrip("\n"))


def _describe(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else str(code)
