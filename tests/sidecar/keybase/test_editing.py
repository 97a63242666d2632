"""Editing a file of a KBFS that tears, delays and loses; it is the simulator's own."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.errors import KbfsError, PeersFileError
from sidecar.keybase import editing
from sidecar.keybase.client import KeybaseClient
from sidecar.keybase.editing import conflict_copies, edit_file
from sidecar.peers_edit import DeviceName, render, unlisting

PATH = "/keybase/team/acme.vpn/peers.json"


class Kbfs(KeybaseClient):
    """A client whose KBFS is a dictionary, with other writers on command."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.writes = 0
        self.after_write: list[Callable[[], None]] = []

    async def read_file(self, path: str) -> bytes | None:
        return self.files.get(path)

    async def write_file(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.writes += 1
        if self.after_write:
            self.after_write.pop(0)()

    async def list_folder(self, path: str) -> tuple[str, ...]:
        return tuple(Path(name).name for name in self.files if name.startswith(f"{path}/"))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "SYNC", 0.0)


def append(text: bytes) -> Callable[[bytes | None], bytes]:
    """Return an edit that is done once the content has the text."""

    def edit(content: bytes | None) -> bytes:
        content = content or b""
        return content if text in content else content + text

    return edit


def test_what_is_written_is_read_back() -> None:
    kbfs = Kbfs()

    written = asyncio.run(edit_file(kbfs, PATH, append(b"a")))

    assert (written.content, written.tries, written.conflicts) == (b"a", 1, ())


def test_an_edit_that_makes_sense_only_once_is_made_once() -> None:
    kbfs = Kbfs()
    devices = (("alice", "laptop"), ("bob", "desktop"))
    kbfs.files[PATH] = render([{"username": user, "device": device} for user, device in devices])

    written = asyncio.run(edit_file(kbfs, PATH, unlisting(DeviceName("bob", "desktop"))))

    assert (written.tries, kbfs.writes) == (1, 1)
    assert b"bob" not in kbfs.files[PATH]


def test_what_is_there_already_is_not_written() -> None:
    kbfs = Kbfs()
    kbfs.files[PATH] = b"a"

    assert asyncio.run(edit_file(kbfs, PATH, append(b"a"))).tries == 0
    assert kbfs.writes == 0


def test_an_update_that_another_writer_has_overwritten_is_made_again_on_theirs() -> None:
    kbfs = Kbfs()
    kbfs.after_write = [lambda: kbfs.files.update({PATH: b"theirs "})]

    written = asyncio.run(edit_file(kbfs, PATH, append(b"ours")))

    assert (written.content, written.tries) == (b"theirs ours", 2)


def test_a_torn_write_is_made_again() -> None:
    kbfs = Kbfs()
    kbfs.after_write = [lambda: kbfs.files.update({PATH: b""})]

    assert asyncio.run(edit_file(kbfs, PATH, append(b"ours"))).content == b"ours"


def test_a_file_that_never_stays_as_written_is_an_error() -> None:
    kbfs = Kbfs()
    kbfs.after_write = [lambda: kbfs.files.update({PATH: b""})] * editing.TRIES

    with pytest.raises(KbfsError, match="does not stay as written"):
        asyncio.run(edit_file(kbfs, PATH, append(b"ours")))
    assert kbfs.writes == editing.TRIES


def test_a_file_in_the_middle_of_somebodys_write_is_looked_at_again() -> None:
    kbfs = Kbfs()
    kbfs.files[PATH] = b"to"

    def edit(content: bytes | None) -> bytes:
        if content == b"to":
            kbfs.files[PATH] = b"torn no more "
            raise PeersFileError("torn")
        return append(b"ours")(content)

    assert asyncio.run(edit_file(kbfs, PATH, edit)).content == b"torn no more ours"


def test_an_edit_that_makes_no_sense_is_refused_and_writes_nothing() -> None:
    kbfs = Kbfs()
    kbfs.files[PATH] = b"{}"

    def edit(_: bytes | None) -> bytes:
        raise PeersFileError("not an array")

    with pytest.raises(PeersFileError, match="not an array"):
        asyncio.run(edit_file(kbfs, PATH, edit))
    assert kbfs.writes == 0


def test_conflict_copies_beside_the_file_are_told() -> None:
    kbfs = Kbfs()
    copy = "peers.conflicted (bob's desktop copy 2026-03-01).json"
    for name in ("peers.json", copy, "peers.txt", "others.conflicted (x).json"):
        kbfs.files[f"/keybase/team/acme.vpn/{name}"] = b"[]"

    assert asyncio.run(conflict_copies(kbfs, PATH)) == (copy,)
