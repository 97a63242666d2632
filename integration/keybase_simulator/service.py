"""What the local Keybase service of one device answers to the CLI. No I/O."""

import base64
from collections.abc import Callable
from typing import Any

from .world import ROLE_FIELDS, ROLES, Conversation, Device, Message, ServiceError, World

MAX_FETCH = 1000
"""Messages that one read returns at most."""

OFFLINE = "operation failed: no connection to chat server"


class Service:
    """The service of `device`.

    Args:
        publish: told of each new message, to push it to listeners.
    """

    def __init__(
        self, world: World, device: Device, publish: Callable[[Conversation, Message], None]
    ) -> None:
        self._world = world
        self._device = device
        self._publish = publish
        self._calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "identity": self._identity,
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
            "listmembers": self._list_members,
            "getdeviceinfo": self._device_info,
            "list-team-memberships": self._memberships,
            "list-self-memberships": self._self_memberships,
            "fs-read": self._fs_read,
            "fs-write": self._fs_write,
            "fs-stat": self._fs_stat,
            "fs-ls": self._fs_ls,
            "filters": self._filters,
        }

    def call(self, name: str, args: dict[str, Any], now: float) -> Any:
        """Answer one call.

        Raises:
            ServiceError: with the text that the CLI shows.
        """
        return self._calls[name](args, now)

    # Identity --------------------------------------------------------------------------------

    def _identity(self, args: dict[str, Any], now: float) -> Any:
        device = self._device
        return {
            "logged_in": device.logged_in,
            "username": device.username,
            "uid": device.uid,
            "device": device.name,
            "device_id": device.id,
            "type": device.type,
            "kbfs": device.kbfs_up,
        }

    # Chat ------------------------------------------------------------------------------------

    def _list(self, args: dict[str, Any], now: float) -> Any:
        wanted = (args.get("topic_type") or "chat").lower()
        shown = [
            self._summary(conversation)
            for conversation in self._world.conversations.values()
            if conversation.topic_type == wanted and self._device.username in conversation.joined
        ]
        return {"conversations": shown or None, "offline": not self._device.online}

    def _list_on_name(self, args: dict[str, Any], now: float) -> Any:
        wanted = (args.get("topic_type") or "chat").lower()
        self._world.check_member(args["name"], self._device)
        shown = [
            self._summary(conversation)
            for conversation in self._world.conversations.values()
            if conversation.team == args["name"] and conversation.topic_type == wanted
        ]
        return {"conversations": shown or None, "offline": not self._device.online}

    def _read(self, args: dict[str, Any], now: float) -> Any:
        if not self._device.online and args.get("fail_offline"):
            raise ServiceError(OFFLINE)
        conversation = self._existing(args)
        visible = [m for m in conversation.messages if not m.deleted]
        pagination = args.get("pagination") or {}
        if pagination.get("next"):
            limit = _cursor_id(pagination["next"])
            visible = [m for m in visible if m.id < limit]
        if pagination.get("previous"):
            limit = _cursor_id(pagination["previous"])
            visible = [m for m in visible if m.id > limit]
        number = min(int(pagination.get("num") or MAX_FETCH), MAX_FETCH)
        page = visible[::-1][:number]
        last = len(page) == len(visible)
        user = self._device.username
        shown = page
        if args.get("unread_only"):
            shown = [
                m for m in page if m.id > conversation.read[user] and m.sender.username != user
            ]
        answer: dict[str, Any] = {
            "messages": [
                self._world.summary(conversation, m, self._device, listening=False) for m in shown
            ]
        }
        cursors: dict[str, Any] = {"num": len(page)}
        if page:
            cursors = {
                "next": _cursor(page[-1].id),
                "previous": _cursor(page[0].id),
                "num": len(page),
            }
        if last:
            cursors["last"] = True
        answer["pagination"] = cursors
        if not self._device.online:
            answer["offline"] = True
        if not args.get("peek") and page:
            conversation.read[user] = max(conversation.read[user], page[0].id)
        return answer

    def _get(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._existing(args)
        wanted = set(args["message_ids"])
        found = [m for m in conversation.messages if m.id in wanted and not m.deleted]
        return {
            "messages": [
                self._world.summary(conversation, m, self._device, listening=False) for m in found
            ]
        }

    def _send(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing_or_new(args, now)
        self._join_silently(conversation, now)
        body = args["message"]["body"]
        message = self._world.text(conversation, self._device, body, now)
        message.ephemeral = message.ephemeral or bool(args.get("exploding_lifetime"))
        self._publish(conversation, message)
        return {"message": "message sent", "id": message.id}

    def _newconv(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        return {"id": self._existing_or_new(args, now).id}

    def _join(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        self._join_silently(self._existing(args), now)
        return {}

    def _leave(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._existing(args)
        if self._device.username in conversation.joined:
            conversation.joined.discard(self._device.username)
            self._publish(
                conversation,
                self._world.add(conversation, self._device, {"type": "leave"}, now),
            )
        return {}

    def _delete(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing(args)
        message = self._world.delete(conversation, self._device, args["message_id"], now)
        self._publish(conversation, message)
        return {"message": "message deleted", "id": message.id}

    def _edit(self, args: dict[str, Any], now: float) -> Any:
        self._check_online()
        conversation = self._existing(args)
        message = self._world.edit(
            conversation, self._device, args["message_id"], args["message"]["body"], now
        )
        self._publish(conversation, message)
        return {"message": "message edited", "id": message.id}

    def _mark(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._existing(args)
        conversation.read[self._device.username] = int(args.get("message_id") or 0)
        return {}

    def _list_members(self, args: dict[str, Any], now: float) -> Any:
        conversation = self._existing(args)
        members = self._world.teams[conversation.team]
        answer: dict[str, list[dict[str, str]]] = {name: [] for name in ROLE_FIELDS.values()}
        for username, role in members.items():
            if conversation.topic == "general" or username in conversation.joined:
                uid = Device(username, "").uid
                answer[ROLE_FIELDS[role]].append({"uid": uid, "username": username, "fullName": ""})
        return answer

    def _device_info(self, args: dict[str, Any], now: float) -> Any:
        devices = [
            {"id": d.id, "description": d.name, "type": d.type, "ctime": 1_560_000_000}
            for d in self._world.devices.values()
            if d.username == args["username"] and not d.revoked
        ]
        return {"devices": devices or None}

    def _filters(self, args: dict[str, Any], now: float) -> Any:
        """Resolve listeners' filters to conversation ids, once."""
        ids: list[str] = []
        for channel in args["channels"]:
            team, topic = channel["name"], channel.get("topic_name")
            kind = (channel.get("topic_type") or "chat").lower()
            self._world.check_member(team, self._device)
            found = [
                c.id
                for c in self._world.conversations.values()
                if c.team == team and c.topic_type == kind and topic in (None, "", c.topic)
            ]
            if not found:
                raise ServiceError(f'no conversations matched "{team}"')
            ids += found
        return ids

    # Team and files --------------------------------------------------------------------------

    def _memberships(self, args: dict[str, Any], now: float) -> Any:
        team = args["team"]
        self._world.check_member(team, self._device)
        members: dict[str, list[dict[str, Any]] | None] = dict.fromkeys(ROLE_FIELDS.values())
        for username, role in self._world.teams[team].items():
            listed = members[ROLE_FIELDS[role]] or []
            members[ROLE_FIELDS[role]] = [
                *listed,
                {
                    "uv": {"uid": Device(username, "").uid, "eldestSeqno": 1},
                    "username": username,
                    "fullName": "",
                    "needsPUK": False,
                    "status": int(username in self._world.reset_users),
                    "role": ROLES[role],
                },
            ]
        return {
            "name": team,
            "members": members,
            "keyGeneration": 1,
            "annotatedActiveInvites": {},
            "settings": {"open": False, "joinAs": 1},
            "showcase": {"is_showcased": False, "any_member_showcase": False},
        }

    def _self_memberships(self, args: dict[str, Any], now: float) -> Any:
        user = self._device.username
        return {
            "teams": [
                {
                    "uid": self._device.uid,
                    "username": user,
                    "fq_name": name,
                    "is_implicit_team": False,
                    "role": ROLES[members[user]],
                    "member_count": len(members),
                    "status": 0,
                }
                for name, members in self._world.teams.items()
                if user in members
            ]
        }

    def _fs_read(self, args: dict[str, Any], now: float) -> Any:
        content = self._world.read_file(args["path"], self._device, now)
        return base64.b64encode(content).decode()

    def _fs_write(self, args: dict[str, Any], now: float) -> Any:
        content = base64.b64decode(args["content"])
        self._world.write_file(args["path"], content, self._device, now)

    def _fs_stat(self, args: dict[str, Any], now: float) -> Any:
        content = self._world.read_file(args["path"], self._device, now)
        file = self._world.files[args["path"]]
        writer = file.writer.username if file.writer else "unknown"
        return {"size": len(content), "written_at": file.written_at, "writer": writer}

    def _fs_ls(self, args: dict[str, Any], now: float) -> Any:
        prefix = args["path"].rstrip("/") + "/"
        return sorted(p[len(prefix) :] for p in self._world.files if p.startswith(prefix))

    # Inside ----------------------------------------------------------------------------------

    def _check_online(self) -> None:
        if not self._device.online:
            raise ServiceError(OFFLINE)

    def _existing(self, args: dict[str, Any]) -> Conversation:
        if args.get("conversation_id"):
            found = self._world.conversations.get(args["conversation_id"])
            if found is not None:
                self._world.check_member(found.team, self._device)
            name = args["conversation_id"]
        else:
            name, topic, kind = _channel(args)
            found = self._world.find(name, topic, kind, self._device)
        if found is None:
            raise ServiceError(f'no conversations matched "{name}"')
        return found

    def _existing_or_new(self, args: dict[str, Any], now: float) -> Conversation:
        if args.get("conversation_id"):
            return self._existing(args)
        name, topic, kind = _channel(args)
        known = self._world.find(name, topic, kind, self._device)
        made = known or self._world.create(name, topic, kind, self._device, now)
        if known is None:
            for message in made.messages:
                self._publish(made, message)
        return made

    def _join_silently(self, conversation: Conversation, now: float) -> None:
        message = self._world.join(conversation, self._device, now)
        if message is not None:
            self._publish(conversation, message)

    def _summary(self, conversation: Conversation) -> dict[str, Any]:
        newest = conversation.messages[-1] if conversation.messages else None
        active_at = newest.sent_at_ms if newest else 0
        user = self._device.username
        return {
            "id": conversation.id,
            "channel": conversation.channel,
            "is_default_conv": conversation.topic == "general",
            "unread": newest is not None and newest.id > conversation.read[user],
            "active_at": active_at // 1000,
            "active_at_ms": active_at,
            "member_status": "active" if user in conversation.joined else "never_joined",
        }


def _channel(args: dict[str, Any]) -> tuple[str, str, str]:
    channel = args["channel"]
    topic = (channel.get("topic_name") or "general").lstrip("#")
    return channel["name"], topic, (channel.get("topic_type") or "chat").lower()


def _cursor(id_: int) -> str:
    """Return base64(msgpack(id)), as the pager does."""
    for bound, prefix, size in ((0x80, b"", 1), (0x100, b"\xcc", 1), (0x10000, b"\xcd", 2)):
        if id_ < bound:
            return base64.b64encode(prefix + id_.to_bytes(size, "big")).decode()
    return base64.b64encode(b"\xce" + id_.to_bytes(4, "big")).decode()


def _cursor_id(cursor: str) -> int:
    try:
        raw = base64.b64decode(cursor, validate=True)
    except ValueError:
        raise ServiceError("invalid pagination cursor") from None
    return int.from_bytes(raw[1:] or raw, "big")
