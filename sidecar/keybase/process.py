"""Child processes of the agent: none of them outlives it."""

import asyncio
import ctypes
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import KeybaseUnavailableError

_log = logging.getLogger(__name__)

NOISE_CHUNK: Final = 4096
"""Bytes of standard error that are read at once; they go into the debug log."""

LINE_LIMIT: Final = 16 * 2**20
"""Bytes of the longest line: a thousand messages of 10 kB."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_libc: Final = ctypes.CDLL(None, use_errno=True)

_ADDED: Final = {"KEYBASE_NO_AUTO_FORK": "1"}
"""Without it the CLI starts a service of its own where it finds none."""


async def start(argv: Sequence[str], *, stdin: int) -> asyncio.subprocess.Process:
    """Start a program that dies with us.

    Raises:
        KeybaseUnavailableError: it cannot be started.
    """
    try:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            env=_environment(),
            preexec_fn=_confine,
        )
    except OSError as error:
        raise KeybaseUnavailableError(f"{argv[0]} cannot be run: {error.strerror}") from error


def as_owner(home: Path) -> tuple[str, ...]:
    """Return what a command must begin with so that it runs as the owner of a Keybase home.

    The CLI refuses to serve root, and what root leaves in somebody's home he cannot change. So
    `docker exec` and `sudo` work as people expect. Whoever is not root can only be himself.
    """
    if os.geteuid() != 0:
        return ()
    owner = _owner(home)
    if owner is None or owner.st_uid == 0:
        return ()
    return ("setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", "--")


def _owner(home: Path) -> os.stat_result | None:
    """Return the status of a home, or of what hides it: root without capabilities is nobody."""
    for directory in (home, *home.parents):
        try:
            return directory.stat()
        except PermissionError:
            continue
        except OSError:
            return None  # the CLI says it better
    return None


def _environment() -> dict[str, str]:
    """Our own, but for what is meant for us alone: TURN's login may be in it."""
    inherited = os.environ.items()  # noqa: TID251 - handed on, not read
    return {k: v for k, v in inherited if not k.startswith("KBWG_")} | _ADDED


async def drain(stream: asyncio.StreamReader) -> None:
    """Read what the CLI says to people, so that it never blocks."""
    while chunk := await stream.read(NOISE_CHUNK):
        text = chunk.decode("utf-8", "replace").strip()
        _log.debug("keybase says", extra={"text": text[:500]})


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process and take its exit status, so that no zombie stays."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _confine() -> None:
    """Let a child die with us, and have none of the agent's capabilities, nor a way to any."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
