"""Conversations and messages as the chat server keeps them (§2)."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .world import Device


@dataclass
class Message:
    """One message of a conversation.

    Attributes:
        edited_by: the device whose edit is shown instead of the original body.
        error: reading yields this text alone, without id or sender.
        omit_username, omit_device_name: the sender's lookup fails.
        force_revoked: shown as a revoked device's message whatever the truth.
    """

    id: int
    sender: "Device"
    sent_at_ms: int
    content: dict[str, Any]
    deleted: bool = False
    edited_by: "Device | None" = None
    omit_username: bool = False
    omit_device_name: bool = False
    error: str | None = None
    lifetime: float | None = None
    force_revoked: bool = False

    @property
    def type(self) -> str:
        """Message type, such as text, join or edit."""
        return str(self.content["type"])


@dataclass
class Conversation:
    """A channel of a team. Ids are its own, from 1 over all types of messages.

    Attributes:
        joined, left: users in the channel, and those who went.
        read: each user's read pointer, the same on all of its devices.
        retention: seconds after which messages explode by policy; `None`: they stay.
        expires: seconds after which messages are deleted by policy; `None`: never.
        broken: reading fails with this text (an inconsistency of prev pointers, §1.3).
        least_role: the least role that may post; empty: all may.
    """

    id: str
    team: str
    topic: str
    topic_type: str
    creator: "Device"
    created_ms: int
    messages: list[Message] = field(default_factory=list)
    joined: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    read: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    retention: float | None = None
    expires: float | None = None
    broken: str | None = None
    least_role: str = ""

    @property
    def max_id(self) -> int:
        """Id of the newest message."""
        return self.messages[-1].id if self.messages else 0

    def message(self, number: int) -> Message | None:
        """Return the message with an id."""
        return next((m for m in self.messages if m.id == number), None)

    def visible(self, server_ms: int, messages: Iterable[Message]) -> list[Message]:
        """Return which of some messages can be read at a time of the server's."""
        oldest = -1 if self.expires is None else server_ms - int(self.expires * 1000)
        return [m for m in messages if not m.deleted and m.sent_at_ms > oldest]


class Chat:
    """All conversations; every change goes through here."""

    def __init__(self) -> None:
        self.clock_skew = 0.0
        """Seconds that the server's dates are ahead of the laboratory's clock."""
        self.conversations: dict[str, Conversation] = {}

    def find(self, team: str, topic: str, topic_type: str) -> Conversation | None:
        """Return a channel of a team."""
        return self.conversations.get(_conversation_id(team, topic_type, topic))

    def of_team(self, team: str, topic_type: str) -> list[Conversation]:
        """Return all channels of a team."""
        return [
            conversation
            for conversation in self.conversations.values()
            if (conversation.team, conversation.topic_type) == (team, topic_type)
        ]

    def create(
        self, team: str, topic: str, topic_type: str, device: "Device", now: float
    ) -> Conversation:
        """Make a channel: message 1 is its title, message 2 its creator's join."""
        number = _conversation_id(team, topic_type, topic)
        conversation = Conversation(
            id=number,
            team=team,
            topic=topic,
            topic_type=topic_type,
            creator=device,
            created_ms=self.server_ms(now),
        )
        self.conversations[number] = conversation
        title = {"type": "metadata", "metadata": {"conversationTitle": topic}}
        self.add(conversation, device, title, now)
        if topic == "general" and topic_type == "chat":
            conversation.joined.add(device.username)
        else:
            self.join(conversation, device, now)
        return conversation

    def join(self, conversation: Conversation, device: "Device", now: float) -> Message | None:
        """Join a channel; no message if the user is in already."""
        if device.username in conversation.joined:
            return None
        conversation.joined.add(device.username)
        conversation.left.discard(device.username)
        return self.add(conversation, device, {"type": "join"}, now)

    def leave(self, conversation: Conversation, device: "Device", now: float) -> Message | None:
        """Leave a channel; no message if the user is not in."""
        if device.username not in conversation.joined:
            return None
        message = self.add(conversation, device, {"type": "leave"}, now)
        conversation.joined.discard(device.username)
        conversation.left.add(device.username)
        return message

    def add(
        self,
        conversation: Conversation,
        device: "Device",
        content: dict[str, Any],
        now: float,
        lifetime: float | None = None,
    ) -> Message:
        """Append a message; a text takes its lifetime from the policy if it has none (§2)."""
        if content["type"] == "text" and lifetime is None and conversation.topic_type != "dev":
            lifetime = conversation.retention
        message = Message(
            id=conversation.max_id + 1,
            sender=device,
            sent_at_ms=self.server_ms(now),
            content=content,
            lifetime=lifetime,
        )
        conversation.messages.append(message)
        return message

    def edit(
        self, conversation: Conversation, device: "Device", number: int, body: str, now: float
    ) -> Message:
        """Edit a text: reads show the new body under the old id, and the edit as well."""
        original = conversation.message(number)
        if original is not None and original.type == "text":
            original.content = text_content(body)
            original.edited_by = device
        fields = text_content(body)["text"]
        content = {"type": "edit", "edit": {"messageID": number, **fields}}
        return self.add(conversation, device, content, now)

    def delete(
        self, conversation: Conversation, device: "Device", number: int, now: float
    ) -> Message:
        """Delete a message and its edits: reads drop them, the deletion stays."""
        numbers = [number]
        for message in conversation.messages:
            edits = message.content.get("edit", {}).get("messageID")
            if message.id == number or edits == number:
                message.deleted = True
                numbers += [message.id] if edits == number else []
        content = {"type": "delete", "delete": {"messageIDs": numbers}}
        return self.add(conversation, device, content, now)

    def delete_history(
        self, conversation: Conversation, device: "Device", upto: int, now: float
    ) -> Message:
        """Delete everything before an id: reads drop it, one message tells."""
        for message in conversation.messages:
            message.deleted = message.deleted or message.id < upto
        content = {"type": "deletehistory", "deletehistory": {"upto": upto}}
        return self.add(conversation, device, content, now)

    def react(
        self, conversation: Conversation, device: "Device", number: int, body: str, now: float
    ) -> Message:
        """React to a message."""
        content = {"type": "reaction", "reaction": {"m": number, "b": body, "t": None}}
        return self.add(conversation, device, content, now)

    def server_ms(self, now: float) -> int:
        """Return the server's time in milliseconds."""
        return int((now + self.clock_skew) * 1000)


def text_content(body: str) -> dict[str, Any]:
    """Return the content of a text message."""
    nothing = dict.fromkeys(("payments", "userMentions", "teamMentions", "emojis"))
    return {"type": "text", "text": {"body": body, **nothing}}


def _conversation_id(team: str, topic_type: str, topic: str) -> str:
    """Return a conversation id: 64 hex digits, the same in every run."""
    name = f"conv/{team}/{topic_type}/{topic}".encode()
    return "0000" + hashlib.sha256(name).hexdigest()[:60]
