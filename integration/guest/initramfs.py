"""An initial file system in memory: the `newc` format that the kernel unpacks (cpio(5))."""

import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """An executable file."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory."""

    path: str


def archive(entries: Iterable[File | Directory]) -> bytes:
    """Return the archive; a directory comes before what is in it."""
    data = bytearray()
    for number, entry in enumerate(entries, start=1):
        match entry:
            case File(path, content):
                data += _entry(number, path, stat.S_IFREG | 0o755, content)
            case Directory(path):
                data += _entry(number, path, stat.S_IFDIR | 0o755, b"")
    data += _entry(0, "TRAILER!!!", 0, b"")
    return bytes(data)


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, four numbers of devices, length of the name, sum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
