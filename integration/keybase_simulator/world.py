"""What Keybase's servers hold: users and their devices, teams and their members.

Conversations are in `chat`, files in `kbfs`. Nothing in these modules does I/O; `now` (seconds
since the epoch, the server's) is an argument.
"""

import hashlib
from dataclasses import dataclass, field

from .chat import Chat
from .kbfs import Kbfs
from .rates import Tank

ROLES = {"none": 0, "reader": 1, "writer": 2, "admin": 3, "owner": 4, "bot": 5, "restrictedbot": 6}
"""Numbers of `keybase team api` (§6)."""

WRITERS = ("writer", "admin", "owner")

CREATED_MS = 1_560_000_000_000
"""Milliseconds since the epoch at which every device and team of a simulation was made."""


RANKS = ("reader", "writer", "admin", "owner")
"""Roles that may post where a channel asks for a least one, in ascending order."""

ROTATION_SECONDS = 1.0
"""Seconds from the servers' wish that a team's key be rotated until a member's client has done so."""

BIG_TEAM = 200
ROTATION_INTERVAL = 86_400.0
"""From so many members on a removal rotates no key that is younger than so many seconds."""


class ServiceError(Exception):
    """An error of the service; the text is what the CLI prints."""


def hex_id(*parts: str, digits: int = 32) -> str:
    """Return a stable id: the same names make the same world."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:digits]


@dataclass
class Device:
    """A device of a user, and what runs on its host.

    Attributes:
        revoked_at: server's time of the revocation in seconds; `None`: in use.
        service_up: whether the service's socket exists.
        stalled: the service accepts calls and answers none.
        kbfs_up: whether a KBFS process is connected to the service.
        online: whether the service reaches the servers.
        rate_limited: calls that are still answered with a rate-limit error.
        deaf: its listeners are alive and hear nothing more.
        mangled: another client's arguments, which `status` shows, hold a percent sign.
        nulls: lists are null in its answers.
        kbfs_delay: seconds that KBFS takes for each of its calls.
    """

    username: str
    name: str
    type: str = "desktop"
    revoked_at: float | None = None
    logged_in: bool = True
    service_up: bool = True
    stalled: bool = False
    kbfs_up: bool = True
    online: bool = True
    rate_limited: int = 0
    deaf: bool = False
    mangled: bool = False
    nulls: bool = False
    kbfs_delay: float = 0.0

    @property
    def label(self) -> str:
        """`user/device`."""
        return f"{self.username}/{self.name}"

    @property
    def id(self) -> str:
        """Device id: 32 hex digits, the last two 18 as for every device."""
        return hex_id("device", self.username, self.name, digits=30) + "18"

    @property
    def uid(self) -> str:
        """The user's id."""
        return user_id(self.username)


@dataclass
class Team:
    """A team: each member's role and when it joined.

    Attributes:
        generation: of the team's key.
        rotated_at: when that was made.
        rotation_wanted_at: since when the servers want another one; `None`: they do not.
    """

    name: str
    roles: dict[str, str] = field(default_factory=dict)
    joined_ms: dict[str, int] = field(default_factory=dict)
    generation: int = 1
    rotated_at: float = CREATED_MS / 1000
    rotation_wanted_at: float | None = None

    def set_role(self, username: str, role: str, now: float) -> None:
        """Add a member, change its role, or remove it with the role `none`."""
        if role not in ROLES:
            raise ServiceError(f"no role {role}")
        if role == "none":
            self._remove(username, now)
            return
        if username not in self.roles:
            self.joined_ms[username] = int(now * 1000)
        self.roles[username] = role

    def rotate(self, now: float) -> None:
        """Make another key."""
        self.generation += 1
        self.rotated_at, self.rotation_wanted_at = now, None

    def want_rotation(self, now: float) -> None:
        """Ask the members' clients for another key (`team.clkr`)."""
        if self.rotation_wanted_at is None:
            self.rotation_wanted_at = now

    def _remove(self, username: str, now: float) -> None:
        """Remove a member. Whoever does that rotates the key in the same change.

        Large teams leave it to later, if theirs is young (K: teams/teams.go, `CanSkipKeyRotation`,
        `recipientBoxes`): the servers then queue the wish.
        """
        large = len(self.roles) >= BIG_TEAM
        if self.roles.pop(username, None) is None:
            return
        if large and now - self.rotated_at <= ROTATION_INTERVAL:
            self.want_rotation(now)
        else:
            self.rotate(now)


class World:
    """All state of the servers.

    Args:
        time_scale: what every duration of Keybase's is multiplied with; below 1 for tests.
        seed: of everything that is drawn at random.
    """

    def __init__(self, time_scale: float = 1.0, seed: int = 0) -> None:
        self.time_scale = time_scale
        self.seed = seed
        self.devices: dict[tuple[str, str], Device] = {}
        self.teams: dict[str, Team] = {}
        self.reset_users: set[str] = set()
        self.tanks: dict[str, Tank] = {}
        self.chat = Chat()
        self.kbfs = Kbfs(time_scale)

    def device(self, label: str) -> Device:
        """Return the device `user/device`."""
        username, _, name = label.partition("/")
        try:
            return self.devices[username, name]
        except KeyError:
            raise ServiceError(f"no device {label}") from None

    def add_device(self, label: str, kind: str = "desktop") -> Device:
        """Add a device `user/device`."""
        username, slash, name = label.partition("/")
        if not (username and slash and name):
            raise ServiceError(f"a device is written user/device, not {label!r}")
        device = self.devices[username, name] = Device(username, name, kind)
        return device

    def revoke(self, device: Device, now: float) -> None:
        """Revoke a device; its own service logs out, and its user's teams get other keys soon."""
        device.revoked_at = now
        device.logged_in = False
        for team in self.teams.values():
            # Restricted bots do not have the team's key.
            if team.roles.get(device.username, "restrictedbot") != "restrictedbot":
                team.want_rotation(now)

    def generation(self, team: Team, now: float) -> int:
        """Return the generation of a team's key.

        After a revocation or a reset the servers ask the members' clients for another key; the first
        client online whose user may write makes it (K: teams/handler.go, `HandleRotateRequest`;
        teams/chain.go, rotate_key; when the servers ask is theirs to decide).
        """
        wanted = team.rotation_wanted_at
        due = wanted is not None and now >= wanted + ROTATION_SECONDS * self.time_scale
        if due and any(self._may_rotate(team, device) for device in self.devices.values()):
            team.rotate(now)
        return team.generation

    def _may_rotate(self, team: Team, device: Device) -> bool:
        online = device.service_up and device.online and device.logged_in
        return online and team.roles.get(device.username) in WRITERS

    def reset(self, username: str, now: float) -> None:
        """Reset an account: its devices are gone, and it is in its teams in name only."""
        self.reset_users.add(username)
        for device in self.user_devices(username):
            self.revoke(device, now)

    def tank(self, username: str) -> Tank:
        """Return the tank of a user's chat calls."""
        return self.tanks.setdefault(username, Tank())

    def user_devices(self, username: str) -> list[Device]:
        """Return the devices of a user that are not revoked."""
        return [
            device
            for device in self.devices.values()
            if device.username == username and device.revoked_at is None
        ]

    def role(self, team: str, username: str) -> str:
        """Return a member's role, or `none`."""
        return self.teams[team].roles.get(username, "none") if team in self.teams else "none"

    def member_team(self, name: str, device: Device) -> Team:
        """Return a team of which the device's user is a member.

        Raises:
            ServiceError: there is no such team, or the user is not in it.
        """
        if name not in self.teams:
            raise ServiceError(f'Team "{name}" does not exist')
        if self.role(name, device.username) == "none":
            raise ServiceError(f"user is not in team: {name}")
        return self.teams[name]


def user_id(username: str) -> str:
    """Return a user's id: 32 hex digits, the last two 19 as for every user."""
    return hex_id("user", username, digits=30) + "19"
