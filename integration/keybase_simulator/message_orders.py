"""Orders about what is said: hostile messages, edits, deletions, policies, gaps (§1.3, §2)."""

import time
from collections.abc import Callable
from typing import Any

from .chat import Conversation, Message, text_content
from .world import RANKS, Device, ServiceError, World

Publish = Callable[[Conversation, Message], None]


class MessageOrders:
    """Changes conversations behind everybody's back; `verbs` maps the orders' names.

    Args:
        publish: told of each new message, to push it to listeners.
    """

    def __init__(self, world: World, publish: Publish) -> None:
        self._world = world
        self._publish = publish
        self.verbs: dict[str, Callable[..., Any]] = {
            "say": self._post,
            "post": self._post,
            "post-raw": self._post,
            "join": self._join,
            "edit": self._edit,
            "delete": self._delete,
            "delete-history": self._delete_history,
            "gap": self._gap,
            "retention": self._retention,
            "ephemeral-policy": self._ephemeral_policy,
            "break-reads": self._break_reads,
            "least-role": self._least_role,
            "messages": self._messages,
        }

    def _post(
        self, team: str, topic: str, sender: str, body: str, flags: dict[str, Any] | None = None
    ) -> int:
        """Post as any device, members or not, a device that does not exist included."""
        flags = flags or {}
        username, _, name = sender.partition("/")
        device = self._world.devices.get((username, name)) or Device(username, name)
        kind = flags.get("topic_type", "chat")
        chat, now = self._world.chat, time.time()
        conversation = chat.find(team, topic, kind) or chat.create(team, topic, kind, device, now)
        lifetime = 86_400.0 if flags.get("ephemeral") else None
        content = flags.get("content") or text_content(body)
        message = chat.add(conversation, device, content, now, lifetime)
        message.omit_device_name = bool(flags.get("omit_device_name"))
        message.omit_username = bool(flags.get("omit_username"))
        message.force_revoked = bool(flags.get("revoked_device"))
        message.error = flags.get("error")
        message.sent_at_ms = int(flags.get("sent_at_ms", message.sent_at_ms))
        self._publish(conversation, message)
        return message.id

    def _join(self, team: str, topic: str, label: str) -> None:
        """Let a user join a channel, made if it does not exist, as people do by hand."""
        device, chat, now = self._world.device(label), self._world.chat, time.time()
        found = chat.find(team, topic, "chat")
        if found is None:
            chat.create(team, topic, "chat", device, now)
        elif (message := chat.join(found, device, now)) is not None:
            self._publish(found, message)

    def _edit(self, team: str, topic: str, sender: str, number: Any, body: str) -> int:
        conversation = self._conversation(team, topic)
        device = self._world.device(sender)
        message = self._world.chat.edit(conversation, device, int(number), body, time.time())
        self._publish(conversation, message)
        return message.id

    def _delete(self, team: str, topic: str, sender: str, number: Any) -> int:
        conversation = self._conversation(team, topic)
        device = self._world.device(sender)
        message = self._world.chat.delete(conversation, device, int(number), time.time())
        self._publish(conversation, message)
        return message.id

    def _delete_history(self, team: str, topic: str, sender: str, upto: Any) -> int:
        """Delete everything before an id, as an administrator may, and as policies do."""
        conversation = self._conversation(team, topic)
        device = self._world.device(sender)
        message = self._world.chat.delete_history(conversation, device, int(upto), time.time())
        self._publish(conversation, message)
        return message.id

    def _gap(self, team: str, topic: str, first: Any, last: Any) -> None:
        """Let messages be placeholders, which reads drop without a word."""
        for message in self._conversation(team, topic).messages:
            if int(first) <= message.id <= int(last):
                message.deleted = True

    def _retention(self, team: str, topic: str, seconds: Any) -> None:
        """Delete what is older; `off`: keep everything."""
        expires = None if seconds in ("off", False, None) else float(seconds)
        self._conversation(team, topic).expires = expires

    def _ephemeral_policy(self, team: str, topic: str, on: Any) -> None:
        self._conversation(team, topic).retention = 86_400.0 if flag(on) else None

    def _break_reads(self, team: str, topic: str, text: str = "") -> None:
        """Fail every read of a channel with a text; without one: not any more."""
        self._conversation(team, topic).broken = text or None

    def _least_role(self, team: str, topic: str, role: str) -> None:
        """Let only members of a role, or above it, post to a channel; `off`: all of them."""
        if role not in (*RANKS, "off"):
            raise ServiceError(f"no least role {role}")
        self._conversation(team, topic).least_role = "" if role == "off" else role

    def _messages(self, team: str, topic: str, kind: str = "") -> list[dict[str, Any]]:
        return [
            {
                "id": m.id,
                "sender": m.sender.label,
                "sent_at_ms": m.sent_at_ms,
                "content": m.content,
            }
            for m in self._conversation(team, topic, kind).messages
        ]

    def _conversation(self, team: str, topic: str, kind: str = "") -> Conversation:
        for wanted in (kind,) if kind else ("chat", "dev"):
            found = self._world.chat.find(team, topic, wanted)
            if found is not None:
                return found
        raise ServiceError(f"no channel {team}#{topic}")


def flag(value: Any) -> bool:
    """Read what an order says for yes."""
    return value in (True, "on", "true", "1", "yes")
