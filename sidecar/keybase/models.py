"""What Keybase tells us, typed at the border; nothing outside this package sees its JSON."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from ..identity import NodeId


class TeamRole(IntEnum):
    """A member's role, with the numbers of `keybase team api`.

    Beware of the order: bots rank below readers.
    """

    NONE = 0
    READER = 1
    WRITER = 2
    ADMIN = 3
    OWNER = 4
    BOT = 5
    RESTRICTED_BOT = 6


WRITER_ROLES: Final = frozenset({TeamRole.WRITER, TeamRole.ADMIN, TeamRole.OWNER})
"""Roles that may edit the team's files (and so `peers.json`)."""

LEADER_ROLES: Final = frozenset({TeamRole.ADMIN, TeamRole.OWNER})
"""Roles that may delete what others have posted."""

MESH_ROLES: Final = WRITER_ROLES | {TeamRole.READER, TeamRole.BOT}
"""Roles whose devices take part. Restricted bots have no team keys: they read no KBFS and see
only messages addressed to them."""


@dataclass(frozen=True, slots=True)
class Device:
    """The logged-in device: who we are to the team."""

    username: str
    device_id: str
    name: str

    @property
    def node(self) -> NodeId:
        """The same, as the rest of the agent names a device."""
        return NodeId(self.username, self.device_id, self.name)


@dataclass(frozen=True, slots=True)
class Membership:
    """Who is in the team: username to role, active members only (status 0).

    Attributes:
        team_id: Keybase's id of the team, which outlives a renaming; `None`: not asked yet.
        generation: of the team's key, which is rotated when a member goes or revokes a device.
    """

    team: str
    roles: dict[str, TeamRole]
    team_id: str | None = None
    generation: int | None = None


class TopicType(Enum):
    """Kind of a channel."""

    CHAT = "chat"
    DEV = "dev"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a team."""

    team: str
    topic: str
    topic_type: TopicType = TopicType.CHAT

    def to_json(self) -> dict[str, str]:
        """Return the channel object of the chat API; `members_type` must be lower case."""
        return {
            "name": self.team,
            "members_type": "team",
            "topic_type": self.topic_type.value,
            "topic_name": self.topic,
        }


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as Keybase attests it.

    Attributes:
        id: the conversation's own number of the message; ordered, unsigned.
        sender: `None` when Keybase could not name the user or the device: untrusted.
        sent_at: the server's time in seconds since the epoch, unsigned.
        text: body of a text message; `None` for every other type.
        revoked_device: the sender's device was revoked when this client read the message.
        edits: id of the message that this one edits; its text must not be believed.
        deletes: ids of the messages that this one deletes.
        exploding: the message vanishes by itself.
        vanished: id before which a policy or an administrator has deleted everything.
    """

    id: int
    sender: NodeId | None
    sent_at: float
    text: str | None
    revoked_device: bool = False
    edits: int | None = None
    deletes: tuple[int, ...] = ()
    exploding: bool = False
    vanished: int | None = None
