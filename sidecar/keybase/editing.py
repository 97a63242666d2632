"""Changing a file of KBFS, which has no atomic replace through the CLI (keybase facts: `fs write`).

A write truncates, then writes; it is published about a second later, perhaps torn, and its exit
status says nothing. Two writers at once leave a conflict copy beside the file. So: one pipe
write, a wait for the sync, a read back that is compared byte for byte, and a look for copies.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import KbfsError, PeersFileError
from .client import KeybaseClient

_log = logging.getLogger(__name__)

SYNC: Final = 2.0
"""Seconds until a write is read back: KBFS flushes about a second after the first change."""

TRIES: Final = 3
"""Writes until we give up: one lost to another writer, one torn, and one more."""


@dataclass(frozen=True, slots=True)
class Written:
    """How an edit went.

    Attributes:
        tries: writes that it took; 0: nothing had to be changed.
        conflicts: names of conflict copies that lie beside the file.
    """

    content: bytes
    tries: int
    conflicts: tuple[str, ...]


async def edit_file(
    client: KeybaseClient, path: str, edit: Callable[[bytes | None], bytes]
) -> Written:
    """Replace a file's content by what `edit` makes of it, until it reads back the same.

    If somebody else has written meanwhile, their content is edited again: no update is lost
    without a word.

    Raises:
        KbfsError: KBFS does not answer, or refuses, or the file does not stay as written.
        PeersFileError: the edit makes no sense on what the file says.
    """
    tries = 0
    wanted: bytes | None = None
    while True:
        current = await client.read_file(path)
        if wanted is not None and current == wanted:
            # Not edited again to see that nothing is left to do: who is off the list is not on it.
            return Written(wanted, tries, await conflict_copies(client, path))
        try:
            wanted = edit(current)
        except PeersFileError:
            # It may be torn, in the middle of somebody's write; it is not a moment later.
            await asyncio.sleep(SYNC)
            again = await client.read_file(path)
            if again == current:
                raise
            continue
        if current == wanted:
            return Written(wanted, tries, await conflict_copies(client, path))
        if tries == TRIES:
            raise KbfsError(
                f"{path} does not stay as written after {TRIES} tries: somebody else is writing "
                "it, or KBFS cannot publish; look at it with `kbwg peers list`"
            )
        tries += 1
        await client.write_file(path, wanted)
        await asyncio.sleep(SYNC)
        _log.debug("file written, read back next", extra={"path": path, "try": tries})


async def conflict_copies(client: KeybaseClient, path: str) -> tuple[str, ...]:
    """Return the names of a file's conflict copies: `peers.conflicted (bob's copy …).json`."""
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    found = await client.list_folder(folder)
    return tuple(
        sorted(n for n in found if n.startswith(f"{stem}.conflicted") and n.endswith(dot + ending))
    )
