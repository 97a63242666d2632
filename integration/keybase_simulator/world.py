"""What Keybase's servers hold: users, devices, a team, conversations, KBFS.

Nothing here does I/O; `now` (seconds since the epoch) is an argument. `server` serves it.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

ROLES = {"none": 0, "reader": 1, "writer": 2, "admin": 3, "owner": 4, "bot": 5, "restrictedbot": 6}
"""Numbers of `keybase team api`."""

ROLE_FIELDS = {
    "owner": "owners",
    "admin": "admins",
    "writer": "writers",
    "reader": "readers",
    "bot": "bots",
    "restrictedbot": "restrictedBots",
}

MAX_TEXT = {"chat": 10_000, "dev": 1_000_000}
"""Bytes of a text message by topic type."""


class ServiceError(Exception):
    """An error of the service; the text is what the CLI prints."""


def hex_id(*parts: str, digits: int = 32) -> str:
    """Return a stable id, so that a seed makes the same world."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:digits]


@dataclass
class Device:
    """A device of a user. `service_up`, `kbfs_up` and `online` are this host's processes."""

    username: str
    name: str
    type: str = "desktop"
    revoked: bool = False
    logged_in: bool = True
    service_up: bool = True
    kbfs_up: bool = True
    online: bool = True
    rate_limited: int = 0
    """Calls that are still answered with a rate-limit error."""

    @property
    def id(self) -> str:
        """Device id: 32 hex digits, the last two 18 as for every device."""
        return hex_id("device", self.username, self.name, digits=30) + "18"

    @property
    def uid(self) -> str:
        """The user's id."""
        return hex_id("user", self.username, digits=30) + "19"


@dataclass
class Message:
    """One message of a conversation."""

    id: int
    sender: Device
    sent_at_ms: int
    content: dict[str, Any]
    prev: int | None
    deleted: bool = False
    edited: str | None = None
    omit_device_name: bool = False
    error: str | None = None
    ephemeral: bool = False


@dataclass
class Conversation:
    """A channel of a team."""

    team: str
    topic: str
    topic_type: str
    messages: list[Message] = field(default_factory=list)
    joined: set[str] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    ephemeral_policy: bool = False

    @property
    def id(self) -> str:
        """Conversation id: 64 hex digits."""
        return hex_id("conv", self.team, self.topic_type, self.topic, digits=64)

    @property
    def channel(self) -> dict[str, str]:
        """The channel object of replies."""
        return {
            "name": self.team,
            "members_type": "team",
            "topic_type": self.topic_type,
            "topic_name": self.topic,
        }


@dataclass
class File:
    """A file of KBFS. Other devices see a write after about a second."""

    content: bytes
    writer: Device | None
    written_at: float
    before: bytes | None = None


KBFS_DELAY = 1.0
"""Seconds until a write is visible to other devices."""


class World:
    """All state, changed only by its methods."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = Random(seed)
        self.devices: dict[tuple[str, str], Device] = {}
        self.teams: dict[str, dict[str, str]] = {}
        self.reset_users: set[str] = set()
        self.conversations: dict[str, Conversation] = {}
        self.files: dict[str, File] = {}
        self.clock_skew = 0.0

    def device(self, name: str) -> Device:
        """Return the device `user/device`."""
        username, _, device = name.partition("/")
        try:
            return self.devices[username, device]
        except KeyError:
            raise ServiceError(f"no device {name}") from None

    def add_device(self, name: str, kind: str = "desktop") -> Device:
        """Add a device `user/device`."""
        username, _, device = name.partition("/")
        self.devices[username, device] = Device(username, device, kind)
        return self.devices[username, device]

    def role(self, team: str, username: str) -> str:
        """Return a member's role."""
        return self.teams.get(team, {}).get(username, "none")

    def check_member(self, team: str, device: Device) -> None:
        """Refuse who is not in the team."""
        if team not in self.teams:
            raise ServiceError(f'Team "{team}" does not exist')
        if self.role(team, device.username) == "none":
            raise ServiceError(f"user is not in team: {team}")

    def find(self, team: str, topic: str, topic_type: str, device: Device) -> Conversation | None:
        """Return a channel."""
        self.check_member(team, device)
        for conversation in self.conversations.values():
            if (conversation.team, conversation.topic, conversation.topic_type) == (
                team,
                topic,
                topic_type,
            ):
                return conversation
        return None

    def create(
        self, team: str, topic: str, topic_type: str, device: Device, now: float
    ) -> Conversation:
        """Return a channel, made if it does not exist; its first messages are system ones."""
        found = self.find(team, topic, topic_type, device)
        if found is not None:
            return found
        conversation = Conversation(team, topic, topic_type)
        self.conversations[conversation.id] = conversation
        self.add(
            conversation,
            device,
            {"type": "metadata", "metadata": {"conversationTitle": topic}},
            now,
        )
        self.join(conversation, device, now)
        return conversation

    def join(self, conversation: Conversation, device: Device, now: float) -> Message | None:
        """Join a channel; no message if the user is in already."""
        if device.username in conversation.joined:
            return None
        conversation.joined.add(device.username)
        return self.add(conversation, device, {"type": "join"}, now)

    def add(
        self, conversation: Conversation, device: Device, content: dict[str, Any], now: float
    ) -> Message:
        """Append a message."""
        number = conversation.messages[-1].id + 1 if conversation.messages else 1
        message = Message(
            id=number,
            sender=device,
            sent_at_ms=int((now + self.clock_skew) * 1000),
            content=content,
            prev=number - 1 or None,
            ephemeral=conversation.ephemeral_policy and content["type"] == "text",
        )
        conversation.messages.append(message)
        return message

    def text(self, conversation: Conversation, device: Device, body: str, now: float) -> Message:
        """Append a text message, if it is not too long."""
        limit = MAX_TEXT.get(conversation.topic_type, MAX_TEXT["chat"])
        size = len(body.encode())
        if size > limit:
            raise ServiceError(
                f"message of size {size} bytes exceeds the maximum length of {limit} bytes"
            )
        return self.add(conversation, device, text_content(body), now)

    def delete(
        self, conversation: Conversation, device: Device, number: int, now: float
    ) -> Message:
        """Delete a message: it is dropped from reads, the deletion stays."""
        for message in conversation.messages:
            if message.id == number:
                message.deleted = True
        content = {"type": "delete", "delete": {"messageIDs": [number]}}
        return self.add(conversation, device, content, now)

    def edit(
        self, conversation: Conversation, device: Device, number: int, body: str, now: float
    ) -> Message:
        """Edit a message: reads show the new body under the old id."""
        for message in conversation.messages:
            if message.id == number and message.content["type"] == "text":
                message.content = text_content(body)
                message.edited = device.name
        content = {
            "type": "edit",
            "edit": {
                "messageID": number,
                "body": body,
                "payments": None,
                "userMentions": None,
                "teamMentions": None,
                "emojis": None,
            },
        }
        return self.add(conversation, device, content, now)

    def summary(
        self, conversation: Conversation, message: Message, reader: Device, *, listening: bool
    ) -> dict[str, Any]:
        """Return the message as `read` and `api-listen` show it."""
        if message.error is not None:
            return {"error": message.error}
        sender = {
            "uid": message.sender.uid,
            "username": message.sender.username,
            "device_id": message.sender.id,
        }
        if not message.omit_device_name:
            sender["device_name"] = message.edited or message.sender.name
        prev = [] if message.prev is None else [{"id": message.prev, "hash": _hash(message)}]
        own = message.sender.username == reader.username
        unread = message.id > conversation.read[reader.username] and not own
        shown: dict[str, Any] = {
            "id": message.id,
            "conversation_id": conversation.id,
            "channel": conversation.channel,
            "sender": sender,
            "sent_at": message.sent_at_ms // 1000,
            "sent_at_ms": message.sent_at_ms,
            "content": message.content,
            "prev": None if listening else prev,
            "unread": False if listening else unread,
        }
        if message.sender.revoked:
            shown["revoked_device"] = True
        if message.ephemeral:
            shown["is_ephemeral"] = True
            shown["e_time"] = message.sent_at_ms + 86_400_000
        if message.content["type"] == "text":
            shown["channel_mention"] = "none"
        return {"msg": shown}

    def read_file(self, path: str, device: Device, now: float) -> bytes:
        """Return a file as this device sees it."""
        self._check_path(path, device)
        file = self.files.get(path)
        if file is None:
            raise ServiceError("file does not exist")
        fresh = file.writer is device or now - file.written_at >= KBFS_DELAY
        content = file.content if fresh else file.before
        if content is None:
            raise ServiceError("file does not exist")
        return content

    def write_file(self, path: str, content: bytes, device: Device, now: float) -> None:
        """Replace a file; only writers of the team may."""
        team = self._check_path(path, device)
        if ROLES[self.role(team, device.username)] not in (2, 3, 4):
            directory = path.rpartition("/")[0]
            raise ServiceError(
                f"{device.username} does not have write access to directory {directory}"
            )
        before = self.files[path].content if path in self.files else None
        self.files[path] = File(content, device, now, before)

    def _check_path(self, path: str, device: Device) -> str:
        parts = path.split("/")
        if len(parts) < 5 or parts[1:3] != ["keybase", "team"]:
            raise ServiceError("file does not exist")
        if parts[3] not in self.teams:
            raise ServiceError(f"{parts[3]} is not a Keybase team")
        if self.role(parts[3], device.username) in ("none", "restrictedbot"):
            raise ServiceError("no access to this file or folder (code 5104)")
        return parts[3]


def text_content(body: str) -> dict[str, Any]:
    """Return the content of a text message."""
    return {
        "type": "text",
        "text": {
            "body": body,
            "payments": None,
            "userMentions": None,
            "teamMentions": None,
            "emojis": None,
        },
    }


def _hash(message: Message) -> str:
    return hex_id("prev", str(message.prev), digits=43) + "="
