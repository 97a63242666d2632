"""What the service of one device, and the KBFS process at it, answer about files (§5)."""

import base64
from collections.abc import Callable
from typing import Any

from .kbfs import Revision
from .world import WRITERS, Device, ServiceError, World

NO_ACCESS = "no access to this file or folder (code 5104)"


class FileCalls:
    """Calls about files; `calls` maps their names."""

    def __init__(self, world: World, device: Device) -> None:
        self._world = world
        self._device = device
        self._handles: dict[int, bytearray] = {}
        self.calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "fs-read": self._read,
            "fs-open": self._open,
            "fs-write": self._write,
            "fs-close": self._close,
            "fs-stat": self._stat,
            "fs-ls": self._list,
        }

    def _read(self, args: dict[str, Any], now: float) -> str:
        path = args["path"]
        self._check_path(path)
        content = self._world.kbfs.read(path, self._device, now, args.get("revision"))
        if content is None:
            raise ServiceError("file does not exist")
        start = args["offset"]
        return base64.b64encode(content[start : start + args["size"]]).decode()

    def _open(self, args: dict[str, Any], now: float) -> int:
        """Open for writing: the file is empty from now on, unless it is appended to."""
        path = args["path"]
        self._check_path(path, writing=True)
        before = self._world.kbfs.read(path, self._device, now) if args["append"] else None
        handle = len(self._handles) + 1
        self._handles[handle] = bytearray(before or b"")
        self._world.kbfs.write(path, bytes(self._handles[handle]), self._device, now)
        return handle

    def _write(self, args: dict[str, Any], now: float) -> None:
        content = self._handles[args["handle"]]
        content += base64.b64decode(args["content"])
        self._world.kbfs.write(args["path"], bytes(content), self._device, now)

    def _close(self, args: dict[str, Any], now: float) -> None:
        """Close; this flushes nothing."""
        self._handles[args["handle"]] = bytearray()

    def _stat(self, args: dict[str, Any], now: float) -> list[dict[str, Any]]:
        path = args["path"]
        self._check_path(path)
        kbfs = self._world.kbfs
        seen = list(kbfs.revisions(path, self._device, now))
        if args.get("revision") is not None:
            seen = [entry for entry in seen if entry.number == args["revision"]]
        if not seen:
            if path.count("/") > 3 and not kbfs.children(path, self._device, now):
                return []
            return [_entry("DIR", Revision(0, b"", "", now))]
        shown = reversed(seen) if args["archived"] else seen[-1:]
        return [_entry("FILE", revision) for revision in shown]

    def _list(self, args: dict[str, Any], now: float) -> list[str]:
        self._check_path(args["path"])
        return self._world.kbfs.children(args["path"], self._device, now)

    def _check_path(self, path: str, *, writing: bool = False) -> None:
        parts = path.split("/")
        if len(parts) < 4 or parts[:3] != ["", "keybase", "team"]:
            raise ServiceError("file does not exist")
        team, user = parts[3], self._device.username
        if team not in self._world.teams:
            raise ServiceError(f"{team} is not a Keybase team")
        role = self._world.role(team, user)
        if role in ("none", "restrictedbot"):
            raise ServiceError(NO_ACCESS)
        if writing and role not in WRITERS:
            folder = path.rpartition("/")[0]
            raise ServiceError(f"{user} does not have write access to directory {folder}")


def _entry(kind: str, revision: Revision) -> dict[str, Any]:
    return {
        "type": kind,
        "size": len(revision.content),
        "time": revision.time,
        "writer": revision.writer,
        "revision": revision.number,
    }
