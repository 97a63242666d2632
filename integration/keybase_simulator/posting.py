"""What the service of one device does for who changes chat (§1.3)."""

import base64
from collections.abc import Callable
from typing import Any

from .chat import Conversation, Message, text_content
from .finding import Finder, topic_of
from .world import RANKS, WRITERS, Device, ServiceError, World

MAX_TEXT = {"chat": 10_000, "dev": 1_000_000}
"""Bytes of a text by topic type (§8)."""

SLASH_COMMANDS = ("/join", "/leave", "/hide", "/unhide", "/mute", "/unmute", "/headline")
"""Commands that the service runs instead of posting them."""

Publish = Callable[[Conversation, Message], None]
Announce = Callable[[Conversation, Device], None]


class Posting:
    """Calls that post messages; `calls` maps their names.

    Args:
        publish: told of each new message, to push it to listeners.
        announce: told of a conversation that a user is in from now on.
    """

    def __init__(
        self,
        world: World,
        device: Device,
        finder: Finder,
        *,
        publish: Publish,
        announce: Announce,
    ) -> None:
        self._world = world
        self._device = device
        self._finder = finder
        self._publish = publish
        self._announce = announce
        self._outbox: list[tuple[dict[str, Any], str]] = []
        self.calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "send": self._send,
            "newconv": self._newconv,
            "join": self._join,
            "leave": self._leave,
            "delete": self._delete,
            "edit": self._edit,
            "mark": self._mark,
            "addtochannel": self._add_to_channel,
            "removefromchannel": self._remove_from_channel,
            "reaction": self._react,
        }

    def flush_outbox(self, now: float) -> None:
        """Send what was queued while there was no connection."""
        queued, self._outbox = self._outbox, []
        for args, body in queued:
            self._post_text(self._existing_or_new(args, now), body, args, now)

    def _send(self, args: dict[str, Any], now: float) -> Any:
        body = args["message"]["body"]
        if args.get("nonblock"):
            outbox_id = base64.b64encode(f"{now:.6f}".encode()[-8:]).decode()
            self._outbox.append((args, body))
            if self._device.online:
                self.flush_outbox(now)
            return {"message": "message sent", "outbox_id": outbox_id}
        self._finder.check_online()
        conversation = self._existing_or_new(args, now)
        if body.partition(" ")[0] in SLASH_COMMANDS:
            return {"message": "message sent", "id": 0}
        message = self._post_text(conversation, body, args, now)
        return {"message": "message sent", "id": message.id}

    def _post_text(
        self, conversation: Conversation, body: str, args: dict[str, Any], now: float
    ) -> Message:
        limit = MAX_TEXT.get(conversation.topic_type, MAX_TEXT["chat"])
        size = len(body.encode())
        if size > limit:
            raise ServiceError(
                f"message of size {size} bytes exceeds the maximum length of {limit} bytes"
            )
        self._join_and_tell(conversation, now)
        self._check_role(conversation)
        lifetime = args.get("exploding_lifetime") or None
        content = text_content(body)
        message = self._world.chat.add(conversation, self._device, content, now, lifetime)
        self._publish(conversation, message)
        return message

    def _check_role(self, conversation: Conversation) -> None:
        """Refuse who is below the channel's least role; the servers' own words are not known."""
        role = self._world.role(conversation.team, self._device.username)
        least = conversation.least_role
        if least and (role not in RANKS or RANKS.index(role) < RANKS.index(least)):
            raise ServiceError(f"You must be at least {least} to post")

    def _newconv(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        return {"id": self._existing_or_new(args, now).id}

    def _join(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        self._join_and_tell(self._finder.existing(args), now)
        return {}

    def _leave(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        conversation = self._finder.existing(args)
        message = self._world.chat.leave(conversation, self._device, now)
        if message is not None:
            self._publish(conversation, message)
        return {}

    def _delete(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        conversation = self._finder.existing(args)
        message = self._world.chat.delete(conversation, self._device, args["message_id"], now)
        self._publish(conversation, message)
        return {"message": "message deleted", "id": message.id}

    def _edit(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        conversation = self._finder.existing(args)
        number, body = args["message_id"], args["message"]["body"]
        message = self._world.chat.edit(conversation, self._device, number, body, now)
        self._publish(conversation, message)
        return {"message": "message edited", "id": message.id}

    def _mark(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._finder.existing(args)
        conversation.read[self._device.username] = int(args.get("message_id") or 0)
        return {}

    def _add_to_channel(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        conversation = self._finder.existing(args)
        if self._world.role(conversation.team, self._device.username) not in WRITERS:
            raise ServiceError("You do not have permission to do this")
        conversation.joined.update(args["usernames"])
        return True

    def _remove_from_channel(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        conversation = self._finder.existing(args)
        if self._world.role(conversation.team, self._device.username) not in ("admin", "owner"):
            raise ServiceError("You do not have permission to do this")
        conversation.joined.difference_update(args["usernames"])
        return {}

    def _react(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_online()
        conversation = self._finder.existing(args)
        number, body = args["message_id"], args["message"]["body"]
        message = self._world.chat.react(conversation, self._device, number, body, now)
        self._publish(conversation, message)
        return {"message": "message reacted to", "id": message.id}

    def _existing_or_new(self, args: dict[str, Any], now: float) -> Conversation:
        name, found = self._finder.find(args)
        if found is not None:
            return found
        if args.get("conversation_id") or args["channel"].get("members_type") != "team":
            raise ServiceError(f'no conversations matched "{name}"')
        chat = self._world.chat
        made = chat.create(name, *topic_of(args["channel"]), self._device, now)
        for message in made.messages:
            self._publish(made, message)
        self._announce(made, self._device)
        return made

    def _join_and_tell(self, conversation: Conversation, now: float) -> None:
        message = self._world.chat.join(conversation, self._device, now)
        if message is not None:
            self._publish(conversation, message)
            self._announce(conversation, self._device)
