"""What the service of one device answers about teams and users (§6)."""

from collections.abc import Callable
from typing import Any

from .cache import DeviceCache
from .world import ROLES, Device, ServiceError, World, hex_id, user_id

NO_NETWORK = (
    "API network error: doRetry failed, attempts: 3, timeout 13.5s, last err: "
    'Get "https://api-1.core.keybaseapi.com/_/api/1.0/{}.json": dial tcp: '
    "lookup api-1.core.keybaseapi.com: no such host (error 1601)"
)


class TeamCalls:
    """Calls about teams and users; `calls` maps their names."""

    def __init__(self, world: World, device: Device, cache: DeviceCache) -> None:
        self._world = world
        self._device = device
        self._cache = cache
        self.calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "getdeviceinfo": self._device_info,
            "list-team-memberships": self._memberships,
            "list-self-memberships": self._self_memberships,
        }

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
            "keyGeneration": self._world.generation(team, now),
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
