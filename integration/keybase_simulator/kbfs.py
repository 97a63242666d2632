"""The team folders of KBFS: revisions, writes that become visible later, conflicts (§5)."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import Device

FLUSH_SECONDS = 1.0
"""Seconds from the first change of a file to its revision, which other devices see."""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a file held from `time` on, and who wrote it."""

    number: int
    content: bytes
    writer: str
    time: float


@dataclass(slots=True)
class _Dirty:
    """A device's own changes that no other device sees yet."""

    content: bytes
    since: float
    base: int


@dataclass(slots=True)
class File:
    """All revisions of a file; `torn`: reads end after so many bytes, `None` for all of it."""

    revisions: list[Revision] = field(default_factory=list)
    dirty: dict[str, _Dirty] = field(default_factory=dict)
    torn: int | None = None

    @property
    def number(self) -> int:
        """Number of the newest revision, 0 if there is none."""
        return self.revisions[-1].number if self.revisions else 0


class Kbfs:
    """All files, by their paths from `/keybase` on."""

    def __init__(self, time_scale: float = 1.0) -> None:
        self._flush_seconds = FLUSH_SECONDS * time_scale
        self.files: dict[str, File] = {}

    def publish(self, path: str, content: bytes, writer: str, now: float) -> None:
        """Make a revision that every device sees at once."""
        file = self.files.setdefault(path, File())
        file.revisions.append(Revision(file.number + 1, content, writer, now))

    def remove(self, path: str) -> None:
        """Remove a file with its history."""
        self.files.pop(path, None)

    def write(self, path: str, content: bytes, device: "Device", now: float) -> None:
        """Change a file on one device."""
        self._settle(now)
        file = self.files.setdefault(path, File())
        dirty = file.dirty.setdefault(device.label, _Dirty(b"", now, file.number))
        dirty.content = content

    def publish_conflict(self, path: str, content: bytes, device: "Device", now: float) -> str:
        """Make the copy that a device's write becomes beside somebody else's; return its path."""
        copy = _conflict_name(path, device.username, device.name, now)
        self.publish(copy, content, device.username, now)
        return copy

    def lose_writes(self, device: "Device") -> None:
        """Forget what a device has not flushed: its KBFS process died."""
        for file in self.files.values():
            file.dirty.pop(device.label, None)

    def revisions(self, path: str, device: "Device", now: float) -> list[Revision]:
        """Return a file's revisions as a device sees them, oldest first; none: no such file."""
        self._settle(now)
        file = self.files.get(path)
        if file is None:
            return []
        own = file.dirty.get(device.label)
        if own is None:
            return file.revisions
        return [*file.revisions, Revision(file.number + 1, own.content, device.username, own.since)]

    def read(
        self, path: str, device: "Device", now: float, revision: int | None = None
    ) -> bytes | None:
        """Return a file's content as a device sees it; `None`: no such file or revision."""
        seen = self.revisions(path, device, now)
        if revision is not None:
            seen = [entry for entry in seen if entry.number == revision]
        if not seen:
            return None
        return seen[-1].content[: self.files[path].torn]

    def children(self, path: str, device: "Device", now: float) -> list[str]:
        """Return the names in a folder."""
        prefix = path + "/"
        inside = [p for p in list(self.files) if p.startswith(prefix)]
        seen = [p for p in inside if self.revisions(p, device, now)]
        return sorted({p[len(prefix) :].partition("/")[0] for p in seen})

    def _settle(self, now: float) -> None:
        for path, file in list(self.files.items()):
            for label, dirty in list(file.dirty.items()):
                due = dirty.since + self._flush_seconds
                if now < due:
                    continue
                del file.dirty[label]
                user, _, device = label.partition("/")
                clash = dirty.base != file.number
                target = _conflict_name(path, user, device, due) if clash else path
                self.publish(target, dirty.content, user, due)


def _conflict_name(path: str, username: str, device: str, moment: float) -> str:
    folder, _, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    day = time.strftime("%Y-%m-%d", time.gmtime(moment))
    base, suffix = (stem, dot + extension) if dot else (name, "")
    return f"{folder}/{base}.conflicted ({username}'s {device} copy {day}){suffix}"
