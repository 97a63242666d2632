"""What the Keybase service of one device answers beside chat: teams, users, KBFS (§4 to §6)."""

import base64
from collections.abc import Callable
from typing import Any

from .cache import DeviceCache
from .kbfs import Revision
from .world import ROLES, WRITERS, Device, ServiceError, World, hex_id, user_id

NO_NETWORK = (
    "API network error: doRetry failed, attempts: 3, timeout 13.5s, last err: "
    'Get "https://api-1.core.keybaseapi.com/_/api/1.0/{}.json": dial tcp: '
    "lookup api-1.core.keybaseapi.com: no such host (error 1601)"
)

NO_ACCESS = "no access to this file or folder (code 5104)"


class OtherCalls:
    """The calls of one device that are not chat; `calls` maps their names."""

    def __init__(self, world: World, device: Device, cache: DeviceCache) -> None:
        self._world = world
        self._device = device
        self._cache = cache
        self._handles: dict[int, bytearray] = {}
        self.calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "getdeviceinfo": self._device_info,
            "list-team-memberships": self._memberships,
            "list-self-memberships": self._self_memberships,
            "fs-read": self._read,
            "fs-open": self._open,
            "fs-write": self._write,
            "fs-close": self._close,
            "fs-stat": self._stat,
            "fs-ls": self._list,
        }

    # Users and teams -------------------------------------------------------------------------

    def _device_info(self, args: dict[str, Any], now: float) -> Any:
        devices = self._cache.devices_of(self._world, args["username"], now)
        return {"devices": devices or None}

    def _memberships(self, args: dict[str, Any], now: float) -> Any:
        self._check_network("team/get")
        team = self._world.member_team(args["team"], self._device)
        members: dict[str, list[dict[str, Any]] | None] = {}
        for role in ("owner", "admin", "writer", "reader", "bot", "restrictedbot"):
            field = "restrictedBots" if role == "restrictedbot" else f"{role}s"
            members[field] = [
                {
                    "uv": {"uid": user_id(username), "eldestSeqno": 1},
                    "username": username,
                    "fullName": "",
                    "needsPUK": False,
                    "status": int(username in self._world.reset_users),
                    "joinTime": team.joined_ms[username],
                    "role": ROLES[role],
                }
                for username, held in team.roles.items()
                if held == role
            ] or None
        return {
            "name": team.name,
            "members": members,
            "keyGeneration": team.generation,
            "annotatedActiveInvites": {},
            "settings": {"open": False, "joinAs": 1},
            "showcase": {"is_showcased": False, "any_member_showcase": False},
        }

    def _self_memberships(self, args: dict[str, Any], now: float) -> Any:
        self._check_network("team/for_user")
        user = self._device.username
        teams = [team for team in self._world.teams.values() if user in team.roles]
        return {
            "teams": [
                {
                    "uid": self._device.uid,
                    "team_id": hex_id("team", team.name, digits=30) + "24",
                    "username": user,
                    "full_name": "",
                    "fq_name": team.name,
                    "is_implicit_team": False,
                    "implicit_team_display_name": "",
                    "is_open_team": False,
                    "role": ROLES[team.roles[user]],
                    "needsPUK": False,
                    "member_count": len(team.roles),
                    "member_eldest_seqno": 1,
                    "allow_profile_promote": True,
                    "is_member_showcased": False,
                    "status": 0,
                }
                for team in teams
            ]
        }

    def _check_network(self, endpoint: str) -> None:
        if not self._device.online:
            raise ServiceError(NO_NETWORK.format(endpoint))

    # Files -----------------------------------------------------------------------------------

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
