"""The methods of the JSON APIs: their options as Go structs, and how they are checked (§1.3)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .gostruct import Struct
from .terminal import format_duration

TOPIC_TYPES = ("none", "chat", "dev", "kbfsfileedit", "emoji", "emojicross")
MEMBERS_TYPES = ("kbfs", "team", "impteamnative", "impteamupgrade")

MIN_LIFETIME, MAX_LIFETIME = 30.0, 7 * 86_400.0
"""Seconds within which an exploding message's lifetime must lie."""

Options = dict[str, Any]


class OptionsError(Exception):
    """Options that the client itself refuses; the text is complete."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of an API.

    Attributes:
        struct: its options.
        check: raises `OptionsError`.
        empty: the name under which absent options are refused; `None`: they may be absent.
        prepare: raises `OptionsError` for what is found only when the service is to be called.
    """

    struct: Struct
    check: Callable[[Options], None]
    empty: str | None
    prepare: Callable[[Options], None]


@dataclass(frozen=True, slots=True)
class Api:
    """A JSON API.

    Attributes:
        login_text: what a logged-out service answers to a method, where it is not the usual text.
        ratelimits: whether results tell them.
        pretty_errors: whether `-p` indents the client's own errors too.
    """

    methods: dict[str, Method]
    login_text: dict[str, str]
    ratelimits: bool
    pretty_errors: bool


CHANNEL = Struct(
    "ChatChannel",
    {
        "name": "string",
        "public": "bool",
        "members_type": "string",
        "topic_type": "string",
        "topic_name": "string",
    },
)
_MESSAGE = Struct("ChatMessage", {"Body": "string"})
_PAGINATION = Struct(
    "Pagination",
    {"next": "bytes", "previous": "bytes", "num": "int", "last": "bool", "forceFirstPage": "bool"},
    package="chat1",
    optional=True,
)
_TARGET: dict[str, str | Struct] = {"Channel": CHANNEL, "conversation_id": "chat1.ConvIDStr"}


def channel_is_valid(channel: Options) -> bool:
    """Return whether a channel has a name and a members type in lower case."""
    return bool(channel["name"]) and channel["members_type"] in ("", *MEMBERS_TYPES)


def invalid(method: str, text: str) -> OptionsError:
    """Return the error of a method's options."""
    return OptionsError(f"invalid {method} v1 options: {text}")


def _check_target(method: str, options: Options) -> None:
    valid = channel_is_valid(options["channel"])
    if not valid and not options["conversation_id"]:
        raise invalid(method, "need channel or conversation_id")
    if valid and options["conversation_id"]:
        raise invalid(method, "include channel or conversation_id, not both")


def _target(method: str) -> Callable[[Options], None]:
    return lambda options: _check_target(method, options)


def _prepare_target(options: Options) -> None:
    topic = options["channel"]["topic_type"]
    if topic and topic.lower() not in TOPIC_TYPES:
        raise OptionsError(f"invalid topic type: '{topic}'")
    conversation = options["conversation_id"]
    if conversation and not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", conversation):
        raise OptionsError(f"invalid conversation ID: {conversation}")


def _prepare_post(options: Options) -> None:
    conversation = options["conversation_id"]
    if conversation and not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", conversation):
        raise OptionsError(f"invalid conv ID: {conversation}")
    _prepare_target(options)


def _nothing(options: Options) -> None:
    """Accept anything."""


def _check_list(options: Options) -> None:
    topic = options["topic_type"]
    if topic and topic.lower() not in TOPIC_TYPES:
        raise invalid("list", f"invalid topic type: '{topic}'")


def _check_on_name(options: Options) -> None:
    if not options["name"]:
        raise OptionsError("name required")
    if options["members_type"] and options["members_type"] not in MEMBERS_TYPES:
        raise OptionsError("invalid members type")


def _check_get(options: Options) -> None:
    _check_target("get", options)
    if not options["message_ids"]:
        raise OptionsError("message_ids required")


def _check_body(method: str, options: Options) -> None:
    if not options["message"]["body"]:
        raise invalid(method, "invalid message, body cannot be empty")


def _check_send(options: Options) -> None:
    _check_target("send", options)
    _check_body("send", options)
    seconds = options["exploding_lifetime"]
    if seconds and not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        limits = f"{format_duration(MAX_LIFETIME)} and {format_duration(MIN_LIFETIME)}"
        shown = format_duration(seconds)
        raise invalid("send", f"invalid ephemeral lifetime: {shown}, must be between {limits}")


def _check_message_id(method: str, options: Options) -> None:
    _check_target(method, options)
    if options["message_id"] == 0:
        raise invalid(method, "invalid message id '0'")


def _check_edit(options: Options) -> None:
    _check_message_id("edit", options)
    _check_body("edit", options)


def _check_reaction(options: Options) -> None:
    _check_message_id("reaction", options)
    _check_body("reaction", options)


def _check_users(method: str, options: Options) -> None:
    _check_target(method, options)
    if not options["usernames"]:
        raise invalid(method, f"{method} needs at least one user")


def _check_newconv(options: Options) -> None:
    if not channel_is_valid(options["channel"]):
        raise invalid("newconv", "need channel or conversation_id")


def _prepare_newconv(options: Options) -> None:
    _prepare_target(options | {"conversation_id": ""})


def _check_username(options: Options) -> None:
    if not options["username"]:
        raise OptionsError("username required")


def _check_team(options: Options) -> None:
    if not re.fullmatch(
        r"[a-zA-Z0-9][a-zA-Z0-9_]*(?:\.[a-zA-Z0-9][a-zA-Z0-9_]*)*", options["team"]
    ):
        raise OptionsError(f"Invalid team name: {options['team']}")


def _method(
    name: str,
    struct: str,
    fields: dict[str, str | Struct],
    check: Callable[[Options], None],
    prepare: Callable[[Options], None] = _prepare_target,
    empty: str | None = "",
) -> tuple[str, Method]:
    return name, Method(Struct(struct, fields), check, name if empty == "" else empty, prepare)


_MESSAGE_ID: dict[str, str | Struct] = _TARGET | {"message_id": "chat1.MessageID"}

_LIST: dict[str, str | Struct] = {
    "conversation_id": "chat1.ConvIDStr",
    "unread_only": "bool",
    "topic_type": "string",
    "show_errors": "bool",
    "fail_offline": "bool",
}
_READ: dict[str, str | Struct] = _TARGET | {
    "pagination": _PAGINATION,
    "Peek": "bool",
    "unread_only": "bool",
    "fail_offline": "bool",
}
_GET: dict[str, str | Struct] = _TARGET | {
    "message_ids": "[]chat1.MessageID",
    "Peek": "bool",
    "fail_offline": "bool",
}
_SEND: dict[str, str | Struct] = _TARGET | {
    "Message": _MESSAGE,
    "nonblock": "bool",
    "members_type": "string",
    "exploding_lifetime": "lifetime",
    "confirm_lumen_send": "bool",
    "reply_to": "chat1.MessageID",
}
_ON_NAME: dict[str, str | Struct] = dict.fromkeys(("name", "members_type", "topic_type"), "string")

CHAT = Api(
    methods=dict(
        (
            _method("list", "listOptionsV1", _LIST, _check_list, _nothing, None),
            _method(
                "listconvsonname", "listConvsOnNameOptionsV1", _ON_NAME, _check_on_name, _check_list
            ),
            _method("read", "readOptionsV1", _READ, _target("read")),
            _method("get", "getOptionsV1", _GET, _check_get, empty="read"),
            _method("send", "sendOptionsV1", _SEND, _check_send, _prepare_post),
            _method("newconv", "newConvOptionsV1", {"Channel": CHANNEL}, _check_newconv,
                    _prepare_newconv),
            _method("join", "joinOptionsV1", _TARGET, _target("newconv")),
            _method("leave", "leaveOptionsV1", _TARGET, _target("newconv")),
            _method("edit", "editOptionsV1", _MESSAGE_ID | {"Message": _MESSAGE}, _check_edit,
                    _prepare_post),
            _method("delete", "deleteOptionsV1", _MESSAGE_ID,
                    lambda options: _check_message_id("delete", options)),
            _method("mark", "markOptionsV1", _MESSAGE_ID, _target("mark")),
            _method("addtochannel", "addToChannelOptionsV1", _TARGET | {"usernames": "[]string"},
                    lambda options: _check_users("addtochannel", options)),
            _method("removefromchannel", "removeFromChannelOptionsV1",
                    _TARGET | {"usernames": "[]string"},
                    lambda options: _check_users("removefromchannel", options)),
            _method("reaction", "reactionOptionsV1", _MESSAGE_ID | {"Message": _MESSAGE},
                    _check_reaction, _prepare_post),
            _method("listmembers", "listMembersOptionsV1", _TARGET, _target("read")),
            _method("getdeviceinfo", "getDeviceInfoOptionsV1", {"username": "string"},
                    _check_username, _nothing),
        )
    ),
    login_text={},
    ratelimits=True,
    pretty_errors=False,
)  # fmt: skip

TEAM = Api(
    methods=dict(
        (
            _method(
                "list-team-memberships",
                "listTeamOptions",
                {"team": "string", "force-poll": "bool"},
                _check_team,
                _nothing,
            ),
            _method("list-self-memberships", "listSelfOptions", {}, _nothing, _nothing, None),
        )
    ),
    login_text={
        "list-team-memberships": "Login required: no sessionArgs available since no login path "
        "worked"
    },
    ratelimits=False,
    pretty_errors=True,
)
