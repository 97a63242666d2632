"""What the Keybase service of one device answers to the CLI: chat (§1.3). No I/O."""

import base64
from collections.abc import Callable
from typing import Any

from .cache import DeviceCache
from .chat import Conversation, Message, text_content
from .service_other import OtherCalls
from .views import conversation_summary, cursor_number, message_entry, read_cursor
from .world import WRITERS, Device, ServiceError, World, user_id

MAX_FETCH = 1000
"""Messages that one read returns at most."""

MAX_TEXT = {"chat": 10_000, "dev": 1_000_000}
"""Bytes of a text by topic type (§8)."""

OFFLINE = "operation failed: no connection to chat server"

SLASH_COMMANDS = ("/join", "/leave", "/hide", "/unhide", "/mute", "/unmute", "/headline")
"""Commands that the service runs instead of posting them."""

MEMBER_FIELDS = {
    "owners": "owner",
    "admins": "admin",
    "writers": "writer",
    "readers": "reader",
    "bots": "bot",
    "restrictedBots": "restrictedbot",
}

Publish = Callable[[Conversation, Message], None]
Announce = Callable[[Conversation, Device], None]


class Service:
    """The service of one device.

    Args:
        publish: told of each new message, to push it to listeners.
        announce: told of a conversation that a user is in from now on.
    """

    def __init__(
        self,
        world: World,
        device: Device,
        cache: DeviceCache,
        *,
        publish: Publish,
        announce: Announce,
    ) -> None:
        self._world = world
        self._device = device
        self._cache = cache
        self._publish = publish
        self._announce = announce
        self._outbox: list[tuple[dict[str, Any], str]] = []
        self._calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "list": self._list,
            "listconvsonname": self._list_on_name,
            "read": self._read,
            "get": self._get,
            "send": self._send,
            "newconv": self._newconv,
            "join": self._join,
            "leave": self._leave,
            "delete": self._delete,
            "edit": self._edit,
            "mark": self._mark,
            "addtochannel": self._add_to_channel,
            "listmembers": self._list_members,
            "filters": self._filters,
            "notification-settings": lambda args, now: None,
            **OtherCalls(world, device, cache).calls,
        }

    def call(self, name: str, args: dict[str, Any], now: float) -> Any:
        """Answer one call.

        Raises:
            ServiceError: with the text that the CLI shows.
        """
        return self._calls[name](args, now)

    def flush_outbox(self, now: float) -> None:
        """Send what was queued while there was no connection."""
        queued, self._outbox = self._outbox, []
        for args, body in queued:
            self._post_text(self._existing_or_new(args, now), body, args, now)

    # Looking ---------------------------------------------------------------------------------

    def _list(self, args: dict[str, Any], now: float) -> Any:
        self._check_fail_offline(args)
        kind = (args.get("topic_type") or "chat").lower()
        user = self._device.username
        found = [
            conversation
            for conversation in self._world.chat.conversations.values()
            if conversation.topic_type == kind
            and user in conversation.joined
            and self._world.role(conversation.team, user) != "none"
            and args.get("conversation_id") in (None, "", conversation.id)
            and (not args.get("unread_only") or conversation.max_id > conversation.read[user])
        ]
        return self._conversations(found)

    def _list_on_name(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        kind = (args.get("topic_type") or "chat").lower()
        if args.get("members_type") != "team":
            return self._conversations([])
        self._world.member_team(args["name"], self._device)
        return self._conversations(self._world.chat.of_team(args["name"], kind))

    def _conversations(self, found: list[Conversation]) -> dict[str, Any]:
        newest_first = sorted(found, key=lambda c: c.messages[-1].sent_at_ms, reverse=True)
        shown = [conversation_summary(c, self._device.username) for c in newest_first]
        return {"conversations": shown or None, "offline": not self._device.online}

    def _read(self, args: dict[str, Any], now: float) -> Any:
        self._check_fail_offline(args)
        conversation = self._existing(args)
        pagination = args.get("pagination")
        fetched = _page(conversation, pagination)
        pointer = conversation.read[self._device.username]
        shown = fetched
        if args.get("unread_only"):
            user = self._device.username
            shown = [m for m in fetched if m.id > pointer and m.sender.username != user]
        answer: dict[str, Any] = {
            "messages": [
                message_entry(conversation, m, self._cache, read_pointer=pointer) for m in shown
            ]
        }
        cursors: dict[str, Any] = {}
        if fetched:
            cursors |= {"next": read_cursor(fetched[-1].id), "previous": read_cursor(fetched[0].id)}
        cursors["num"] = len(fetched)
        if not fetched or fetched[-1].id == _first_visible(conversation):
            cursors["last"] = True
        answer["pagination"] = cursors
        if not self._device.online:
            answer["offline"] = True
        if not args.get("peek") and fetched:
            conversation.read[self._device.username] = max(pointer, fetched[0].id)
        return answer

    def _get(self, args: dict[str, Any], now: float) -> Any:
        self._check_fail_offline(args)
        conversation = self._existing(args)
        found = [conversation.message(number) for number in args["message_ids"]]
        answer: dict[str, Any] = {
            "messages": [
                message_entry(conversation, message, self._cache, read_pointer=0)
                for message in found
                if message is not None and not message.deleted
            ]
        }
        return answer if self._device.online else answer | {"offline": True}

    def _list_members(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._existing(args)
        roles = self._world.teams[conversation.team].roles
        everybody = conversation.topic == "general"
        return {
            name: [
                {"uid": user_id(username), "username": username, "fullName": ""}
                for username, role in roles.items()
                if role == wanted and (everybody or username in conversation.joined)
            ]
            for name, wanted in MEMBER_FIELDS.items()
        }

    def _filters(self, args: dict[str, Any], now: float) -> list[str]:
        """Resolve a listener's filters to conversation ids, once and for all (§3)."""
        ids = []
        for wanted in args["channels"]:
            kind = (wanted.get("topic_type") or "chat").lower()
            if wanted.get("members_type") == "team" and not wanted.get("topic_name"):
                self._world.member_team(wanted["name"], self._device)
                ids += [c.id for c in self._world.chat.of_team(wanted["name"], kind)]
            else:
                ids.append(self._existing({"channel": wanted}).id)
        return ids

    # Posting ---------------------------------------------------------------------------------

    def _send(self, args: dict[str, Any], now: float) -> Any:
        body = args["message"]["body"]
        if args.get("nonblock"):
            outbox_id = base64.b64encode(f"{now:.6f}".encode()[-8:]).decode()
            self._outbox.append((args, body))
            if self._device.online:
                self.flush_outbox(now)
            return {"message": "message sent", "outbox_id": outbox_id}
        self._check_online()
        conversation = self._existing_or_new(args, now)
        if body.split(maxsplit=1)[0] in SLASH_COMMANDS:
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
        lifetime = args.get("exploding_lifetime") or None
        content = text_content(body)
        message = self._world.chat.add(conversation, self._device, content, now, lifetime)
        self._publish(conversation, message)
        return message

    def _newconv(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        return {"id": self._existing_or_new(args, now).id}

    def _join(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        self._join_and_tell(self._existing(args), now)
        return {}

    def _leave(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing(args)
        message = self._world.chat.leave(conversation, self._device, now)
        if message is not None:
            self._publish(conversation, message)
        return {}

    def _delete(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing(args)
        message = self._world.chat.delete(conversation, self._device, args["message_id"], now)
        self._publish(conversation, message)
        return {"message": "message deleted", "id": message.id}

    def _edit(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing(args)
        number, body = args["message_id"], args["message"]["body"]
        message = self._world.chat.edit(conversation, self._device, number, body, now)
        self._publish(conversation, message)
        return {"message": "message edited", "id": message.id}

    def _mark(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._existing(args)
        conversation.read[self._device.username] = int(args.get("message_id") or 0)
        return {}

    def _add_to_channel(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing(args)
        if self._world.role(conversation.team, self._device.username) not in WRITERS:
            raise ServiceError("You do not have permission to do this")
        conversation.joined.update(args["usernames"])
        return True

    # Inside ----------------------------------------------------------------------------------

    def _check_online(self) -> None:
        if not self._device.online:
            raise ServiceError(OFFLINE)

    def _check_fail_offline(self, args: dict[str, Any]) -> None:
        if args.get("fail_offline"):
            self._check_online()

    def _existing(self, args: dict[str, Any]) -> Conversation:
        name, found = self._find(args)
        if found is None:
            raise ServiceError(f'no conversations matched "{name}"')
        return found

    def _find(self, args: dict[str, Any]) -> tuple[str, Conversation | None]:
        number = args.get("conversation_id")
        if number:
            found = self._world.chat.conversations.get(number.lower())
            if found is not None:
                self._world.member_team(found.team, self._device)
            return number, found
        wanted = args["channel"]
        # Without members_type "team" the name is that of a conversation between users.
        if wanted.get("members_type") != "team":
            return wanted["name"], None
        self._world.member_team(wanted["name"], self._device)
        return wanted["name"], self._world.chat.find(wanted["name"], *_topic(wanted))

    def _existing_or_new(self, args: dict[str, Any], now: float) -> Conversation:
        name, found = self._find(args)
        if found is not None:
            return found
        if args.get("conversation_id") or args["channel"].get("members_type") != "team":
            raise ServiceError(f'no conversations matched "{name}"')
        chat = self._world.chat
        made = chat.create(name, *_topic(args["channel"]), self._device, now)
        for message in made.messages:
            self._publish(made, message)
        self._announce(made, self._device)
        return made

    def _join_and_tell(self, conversation: Conversation, now: float) -> None:
        message = self._world.chat.join(conversation, self._device, now)
        if message is not None:
            self._publish(conversation, message)
            self._announce(conversation, self._device)


def _topic(channel: dict[str, Any]) -> tuple[str, str]:
    topic = (channel.get("topic_name") or "general").removeprefix("#")
    return topic, (channel.get("topic_type") or "chat").lower()


def _page(conversation: Conversation, pagination: dict[str, Any] | None) -> list[Message]:
    """Return one page, newest first."""
    newest_first = [m for m in reversed(conversation.messages) if not m.deleted]
    if pagination is None:
        return newest_first[:MAX_FETCH]
    number = min(pagination.get("num") or 0, MAX_FETCH)
    if pagination.get("next"):
        limit = cursor_number(pagination["next"])
        return [m for m in newest_first if m.id < limit][:number]
    if pagination.get("previous"):
        limit = cursor_number(pagination["previous"])
        newer = [m for m in newest_first if m.id > limit]
        return newer[len(newer) - min(number, len(newer)) :]
    return newest_first[:number]


def _first_visible(conversation: Conversation) -> int:
    return next((m.id for m in conversation.messages if not m.deleted), 0)
