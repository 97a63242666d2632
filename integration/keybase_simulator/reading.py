"""What the service of one device answers to who looks at chat (§1.3)."""

from collections.abc import Callable
from typing import Any

from .cache import DeviceCache
from .chat import Conversation, Message
from .finding import Finder
from .views import conversation_summary, cursor_number, message_entry, read_cursor
from .world import Device, ServiceError, World, user_id

MAX_FETCH = 1000
"""Messages that one read returns at most."""

MEMBER_FIELDS = {
    "owners": "owner",
    "admins": "admin",
    "writers": "writer",
    "readers": "reader",
    "bots": "bot",
    "restrictedBots": "restrictedbot",
}


class Reading:
    """Calls that change nothing but read pointers; `calls` maps their names."""

    def __init__(self, world: World, device: Device, cache: DeviceCache, finder: Finder) -> None:
        self._world = world
        self._device = device
        self._cache = cache
        self._finder = finder
        self.calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "list": self._list,
            "listconvsonname": self._list_on_name,
            "read": self._read,
            "get": self._get,
            "listmembers": self._list_members,
            "filters": self._filters,
        }

    def _list(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_fail_offline(args)
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
        self._finder.check_online()
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
        self._finder.check_fail_offline(args)
        conversation = self._finder.existing(args)
        if conversation.broken is not None:
            raise ServiceError(conversation.broken)
        pagination = args.get("pagination")
        # A page is counted before what cannot be shown is dropped from it: it may come out empty.
        fetched = _page(conversation.messages[::-1], pagination)
        pointer = conversation.read[self._device.username]
        shown = conversation.visible(self._world.chat.server_ms(now), fetched)
        if args.get("unread_only"):
            user = self._device.username
            shown = [m for m in shown if m.id > pointer and m.sender.username != user]
        answer: dict[str, Any] = {
            "messages": [
                message_entry(conversation, m, self._cache, read_pointer=pointer) for m in shown
            ]
        }
        cursors: dict[str, Any] = {}
        if fetched:
            cursors |= {"next": read_cursor(fetched[-1].id), "previous": read_cursor(fetched[0].id)}
        cursors["num"] = len(fetched)
        if not fetched or fetched[-1] is conversation.messages[0]:
            cursors["last"] = True
        answer["pagination"] = cursors
        if not self._device.online:
            answer["offline"] = True
        if not args.get("peek") and fetched:
            conversation.read[self._device.username] = max(pointer, fetched[0].id)
        return answer

    def _get(self, args: dict[str, Any], now: float) -> Any:
        self._finder.check_fail_offline(args)
        conversation = self._finder.existing(args)
        server_ms = self._world.chat.server_ms(now)
        visible = conversation.visible(server_ms, conversation.messages)
        wanted = dict.fromkeys(args["message_ids"])
        by_id = {message.id: message for message in visible if message.id in wanted}
        answer: dict[str, Any] = {
            "messages": [
                message_entry(conversation, message, self._cache, read_pointer=0)
                for number in wanted
                if (message := by_id.get(number)) is not None
            ]
        }
        return answer if self._device.online else answer | {"offline": True}

    def _list_members(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._finder.existing(args)
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
                ids.append(self._finder.existing({"channel": wanted}).id)
        return ids


def _page(newest_first: list[Message], pagination: dict[str, Any] | None) -> list[Message]:
    """Return one page of what can be read, newest first."""
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
