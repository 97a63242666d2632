"""Codec of the CLI's JSON: requests out, replies and events in. No I/O.

Every field that matters is explicit in a request: the CLI's long-lived pipe keeps what a request
omits from the one before. Nothing of a reply is believed to be there.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeGuard

from ..errors import (
    KeybaseError,
    KeybaseUnavailableError,
    LoggedOutError,
    RateLimitedError,
    TeamError,
)
from ..identity import NodeId
from .models import Channel, ChatMessage, Device, Membership, TeamRole, TopicType
from .wording import plainly

ROLE_FIELDS: Final = {
    "owners": TeamRole.OWNER,
    "admins": TeamRole.ADMIN,
    "writers": TeamRole.WRITER,
    "readers": TeamRole.READER,
    "bots": TeamRole.BOT,
    "restrictedBots": TeamRole.RESTRICTED_BOT,
}

_TRANSPORT: Final = (
    "dial unix",
    "EOF",
    "connection",
    "API network error",
    "no such host",
    "timeout",
)
"""Texts of errors that say nothing about the request: service or network are away."""

MAX_TEXT: Final = 4097
"""Characters of a text that are kept: one more than any announcement has."""

_NOT_IN_TEAM: Final = ("does not exist", "user is not in team", "not a member", "no such team")


_LOGGED_OUT: Final = ("Login required", "logged out")

DEFAULT_RESET: Final = 60.0
"""Seconds until more calls are allowed where the refusal does not say."""

_FIXINT_END: Final = 0x80
"""MessagePack writes numbers below it as one byte."""

_UINT_BYTES: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""How many bytes follow each of its marks for larger ones."""

MAX_RESET: Final = 3600.0
"""Seconds until more calls are allowed, at most: more is no answer that makes sense."""


@dataclass(frozen=True, slots=True)
class Tank:
    """What is left of the calls that are allowed (keybase facts § 1.4).

    Attributes:
        capacity: calls that the full tank allows.
        gas: calls that are left.
        reset: seconds until it is full again.
    """

    capacity: int
    gas: int
    reset: float


@dataclass(frozen=True, slots=True)
class Pushed:
    """A message that `api-listen` has told, and the channel that it was posted in."""

    channel: Channel
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a channel, newest first.

    Attributes:
        next: cursor of the next older page; `None`: this was the last.
        unreadable: entries without a message.
        fetched: messages that Keybase has looked at. It shows none of those that are deleted, have
            exploded or are gaps: an empty page need not be the last.
        oldest: id of the oldest of these; `None`: `next` does not tell.
    """

    messages: tuple[ChatMessage, ...]
    next: str | None
    unreadable: int
    fetched: int
    oldest: int | None


def request(id_: int, method: str, options: dict[str, Any]) -> bytes:
    """Return one request line with every field."""
    body = {"id": id_, "method": method, "params": {"version": 1, "options": options}}
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def parse_reply(line: bytes, id_: int) -> dict[str, Any]:
    """Return a reply's result.

    Raises:
        KeybaseUnavailableError: service or network are away, or too many calls.
        KeybaseError: the request failed, or the line is no reply to it.
    """
    try:
        reply = _object(line)
    except KeybaseError as error:
        raise KeybaseUnavailableError(f"the pipe is broken: {error}") from error
    failure = reply.get("error")
    if failure is not None:
        raise _api_error(failure)
    if reply.get("id") != id_:
        raise KeybaseUnavailableError("the pipe answers another request")
    result = reply.get("result")
    return result if isinstance(result, dict) else {}


def error_of(text: str) -> KeybaseError:
    """Return the error for a text of the CLI, wherever it stood in it."""
    shown = plainly(text)[:300]
    if any(part in text for part in _LOGGED_OUT):
        return LoggedOutError(f"nobody is logged in ({shown})")
    if any(part in text for part in _TRANSPORT):
        return KeybaseUnavailableError(shown)
    return KeybaseError(shown)


def team_error(error: KeybaseError, team: str) -> Exception:
    """Return what an error of a membership call means for the start."""
    if any(part in str(error) for part in _NOT_IN_TEAM):
        return TeamError(f"the team {team} does not exist, or this user is not in it: {error}")
    return error


def parse_page(result: dict[str, Any]) -> Page:
    """Read the result of `read`; entries that make no sense are counted."""
    entries = result.get("messages")
    messages: list[ChatMessage] = []
    unreadable = 0
    for entry in entries if isinstance(entries, list) else []:
        message = parse_message(entry.get("msg")) if isinstance(entry, dict) else None
        if message is None:
            unreadable += 1
        else:
            messages.append(message)
    found = result.get("pagination")
    pagination = found if isinstance(found, dict) else {}
    cursor = None if pagination.get("last") else pagination.get("next")
    cursor = cursor if isinstance(cursor, str) else None
    fetched = pagination.get("num")
    return Page(
        tuple(messages),
        cursor,
        unreadable,
        max(len(messages) + unreadable, fetched if _is_int(fetched) else 0),
        None if cursor is None else _cursor_id(cursor),
    )


def _cursor_id(cursor: str) -> int | None:
    """Return the message id in a cursor of `read`: MessagePack's unsigned integer, in base64."""
    try:
        raw = base64.b64decode(cursor, validate=True)
    except ValueError:
        return None
    if len(raw) == 1 and raw[0] < _FIXINT_END:
        return raw[0]
    if raw and len(raw) - 1 == _UINT_BYTES.get(raw[0]):
        return int.from_bytes(raw[1:], "big")
    return None


def parse_event(line: bytes) -> Pushed | None:
    """Read a line of `api-listen`; `None`: not a message that we understand."""
    try:
        event = _object(line)
    except KeybaseError:
        return None
    summary = event.get("msg")
    if event.get("type") != "chat" or not isinstance(summary, dict):
        return None
    channel, message = _channel(summary.get("channel")), parse_message(summary)
    return None if channel is None or message is None else Pushed(channel, message)


def parse_tank(result: dict[str, Any]) -> Tank | None:
    """Read what a result tells of the calls that are left; of several tanks the emptiest."""
    tanks = result.get("ratelimits")
    found = [
        Tank(capacity, gas, min(float(reset), MAX_RESET))
        for tank in (tanks if isinstance(tanks, list) else [])
        if isinstance(tank, dict)
        and _is_int(capacity := tank.get("capacity"))
        and _is_int(gas := tank.get("gas"))
        and _is_int(reset := tank.get("reset"))
        and capacity > 0 <= gas
        and reset >= 0
    ]
    return min(found, key=lambda tank: tank.gas / tank.capacity, default=None)


def parse_message(value: object) -> ChatMessage | None:
    """Read a message summary; `None`: it has no id, no time or no content."""
    if not isinstance(value, dict):
        return None
    id_, sent_at_ms, content = value.get("id"), value.get("sent_at_ms"), value.get("content")
    if not _is_int(id_) or not _is_int(sent_at_ms) or not isinstance(content, dict):
        return None
    text = edits = vanished = None
    deletes: tuple[int, ...] = ()
    match content:
        case {"type": "text", "text": {"body": str(body)}}:
            text = body[:MAX_TEXT]
        case {"type": "edit", "edit": {"messageID": edited}} if _is_int(edited):
            edits = edited
        case {"type": "delete", "delete": {"messageIDs": list(ids)}}:
            deletes = tuple(i for i in ids if _is_int(i))
        case {"type": "deletehistory", "deletehistory": {"upto": int(upto)}}:
            vanished = upto
        case _:
            pass  # join, metadata, reaction, …: nothing that we read
    return ChatMessage(
        id=id_,
        sender=_sender(value.get("sender")),
        sent_at=sent_at_ms / 1000,
        text=text,
        revoked_device=bool(value.get("revoked_device")),
        edits=edits,
        deletes=deletes,
        exploding=bool(value.get("is_ephemeral")),
        vanished=vanished,
    )


def parse_membership(team: str, result: dict[str, Any]) -> Membership:
    """Read the result of `list-team-memberships`; only active members count.

    Raises:
        KeybaseError: there are no members, which cannot be: the caller is one.
    """
    members = result.get("members")
    roles: dict[str, TeamRole] = {}
    for name, role in ROLE_FIELDS.items():
        listed = members.get(name) if isinstance(members, dict) else None
        for member in listed if isinstance(listed, list) else []:
            if isinstance(member, dict) and member.get("status") == 0:
                username = member.get("username")
                if isinstance(username, str) and username:
                    roles[username.lower()] = role
    if not roles:
        raise KeybaseError("the answer names no member of the team")
    generation = result.get("keyGeneration")
    return Membership(team, roles, generation=generation if _is_int(generation) else None)


def parse_team_id(team: str, result: dict[str, Any]) -> str:
    """Read a team's id from the result of `list-self-memberships`.

    Raises:
        KeybaseError: the team is not among this user's, or has no id that makes sense.
    """
    teams = result.get("teams")
    for listed in teams if isinstance(teams, list) else []:
        if isinstance(listed, dict) and str(listed.get("fq_name")).lower() == team.lower():
            team_id = listed.get("team_id")
            if isinstance(team_id, str) and _TEAM_ID.fullmatch(team_id):
                return team_id
    raise KeybaseError(f"the answer does not name the id of {team}")


_TEAM_ID: Final = re.compile(r"[0-9a-f]{32}")


def parse_device(output: bytes) -> Device | None:
    """Read `status --json`; `None`: nobody is logged in.

    Raises:
        KeybaseError: not JSON (a `%` in somebody's arguments garbles it) or incomplete.
    """
    status = _object(output)
    if not status.get("LoggedIn"):
        return None
    username, device = status.get("Username"), status.get("Device")
    if isinstance(username, str) and username and isinstance(device, dict):
        name, id_ = device.get("name"), device.get("deviceID")
        if isinstance(name, str) and name and isinstance(id_, str) and id_:
            return Device(username.lower(), id_, name)
    raise KeybaseError("the status names no device")


def parse_whoami(output: bytes) -> tuple[str, str] | None:
    """Read `whoami --json` as (username, device name); `None`: nobody is logged in."""
    who = _object(output)
    user = who.get("user")
    if not who.get("loggedIn") or not isinstance(user, dict):
        return None
    username, device = user.get("username"), who.get("deviceName")
    if not isinstance(username, str) or not isinstance(device, str):
        raise KeybaseError("whoami names no user")
    return username.lower(), device


def parse_device_ids(result: dict[str, Any]) -> dict[str, str]:
    """Read `getdeviceinfo` as device id to name."""
    devices = result.get("devices")
    found: dict[str, str] = {}
    for device in devices if isinstance(devices, list) else []:
        if isinstance(device, dict):
            id_, name = device.get("id"), device.get("description")
            if isinstance(id_, str) and isinstance(name, str):
                found[id_] = name
    return found


def message_id(result: dict[str, Any]) -> int:
    """Read the result of `send`.

    Raises:
        KeybaseError: nothing was posted (a built-in command, for one).
    """
    id_ = result.get("id")
    if not _is_int(id_) or id_ <= 0:
        raise KeybaseError("the message was not posted")
    return id_


def target(channel: Channel, **options: Any) -> dict[str, Any]:
    """Return options that name a channel."""
    return {"channel": channel.to_json(), **options}


def filters(channels: Sequence[Channel]) -> str:
    """Return the argument of `--filter-channels`."""
    return json.dumps([channel.to_json() for channel in channels], separators=(",", ":"))


def _channel(value: object) -> Channel | None:
    match value:
        case {"name": str(team), "topic_type": str(kind), "topic_name": str(topic)}:
            pass
        case _:
            return None
    try:
        return Channel(team.lower(), topic, TopicType(kind.lower()))
    except ValueError:
        return None


def _sender(value: object) -> NodeId | None:
    if not isinstance(value, dict):
        return None
    username, id_ = value.get("username"), value.get("device_id")
    device = value.get("device_name")
    if not all(isinstance(part, str) and part for part in (username, id_, device)):
        return None
    return _node(str(username).lower(), str(id_), str(device))


@lru_cache(4_096)
def _node(username: str, device_id: str, device: str) -> NodeId:
    """Return one object for all messages of a device: there are ten thousand of them."""
    return NodeId(username, device_id, device)


def _api_error(error: object) -> KeybaseError:
    fields = error if isinstance(error, dict) else {}
    text = str(fields.get("message", "an error without a message"))
    data = fields.get("data")
    if isinstance(data, dict) and "windowReset" in data:
        reset = data["windowReset"]
        sane = _is_int(reset) and 0 <= reset <= MAX_RESET
        return RateLimitedError(text[:300], float(reset) if sane else DEFAULT_RESET)
    return error_of(text)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeybaseError("the answer is not JSON") from error
    if not isinstance(value, dict):
        raise KeybaseError("the answer is no object")
    return value


def _is_int(value: object) -> TypeGuard[int]:
    """Tell whether it is an integer that Keybase can mean: its own have 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
