"""`keybase chat api` and `keybase team api`: JSON requests in, JSON replies out, in order.

The request's struct is declared once outside the real client's loop, so that a field missing
from a request keeps the value of the one before: here too.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import gojson
from .cli import CommandError, RateLimitedError, ServiceClient

TOPIC_TYPES = ("chat", "dev", "kbfsfileedit", "emoji", "emojicross")
MEMBERS_TYPES = ("kbfs", "team", "impteamnative", "impteamupgrade")
MIN_LIFETIME, MAX_LIFETIME = 30.0, 7 * 86400.0

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|ms|s|m|h))+")


class Method(NamedTuple):
    """One method of an API.

    Attributes:
        prefix: how its validation errors name it.
        struct: Go's name of its options, for unmarshal errors.
        required: whether empty options are an error.
        check: validates options; raises `OptionsError` with or without the prefix.
    """

    prefix: str
    struct: str
    required: bool
    check: Callable[[dict[str, Any]], None]


class OptionsError(Exception):
    """Invalid options; `bare`: the text stands alone, without the method's prefix."""

    def __init__(self, text: str, *, bare: bool = False) -> None:
        super().__init__(text)
        self.bare = bare


class FatalError(Exception):
    """The request cannot be decoded: one error reply, then the process ends."""


class Api(NamedTuple):
    """A JSON API: its methods and the result's decoration."""

    methods: dict[str, Method]
    login_text: dict[str, str]
    rate_limits: bool


def run(service: ServiceClient, options: dict[str, str], api: Api) -> None:
    """Answer every request of the input."""
    call: dict[str, Any] = {"jsonrpc": "", "id": 0, "method": "", "version": 0, "options": None}
    indent = 4 if "p" in options else None
    out = open(options["o"], "w") if "o" in options else sys.stdout  # noqa: SIM115 - ends with us
    for request in _requests(options):
        if isinstance(request, Exception):
            _reply(out, call, {"error": {"code": 0, "message": str(request)}}, None)
            return
        try:
            _merge(call, request)
        except FatalError as error:
            _reply(out, call, {"error": {"code": 0, "message": str(error)}}, None)
            return
        _reply(out, call, _answer(service, call, api), indent)


def _requests(options: dict[str, str]) -> Iterator[Any]:
    if "m" in options:
        stream: Iterator[str] = iter([options["m"]])
    elif "i" in options:
        with open(options["i"]) as file:
            stream = iter([file.read()])
    else:
        stream = iter(sys.stdin.readline, "")
    text, ended = "", False
    while True:
        try:
            value, end = gojson.next_value(text, 0)
        except (gojson.EndOfInput, gojson.MoreExpected) as error:
            if ended:
                if isinstance(error, gojson.MoreExpected):
                    yield error
                return
            chunk = next(stream, None)
            ended = chunk is None
            text += chunk or ""
            continue
        except gojson.GoJSONError as error:
            yield error
            return
        text = text[end:]
        yield value


def _merge(call: dict[str, Any], request: Any) -> None:
    """Decode into the struct of the request before."""
    if request is None:
        return
    if not isinstance(request, dict):
        kind = gojson.kind_of(request)
        raise FatalError(f"json: cannot unmarshal {kind} into Go value of type client.Call")
    fields = gojson.folded(request)
    fields_of_call: dict[str, tuple[type, str]] = {
        "id": (int, "ID of type int"),
        "method": (str, "Method of type string"),
        "jsonrpc": (str, "Jsonrpc of type string"),
    }
    for name, (expected, go_name) in fields_of_call.items():
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, expected) or isinstance(value, bool):
            found = gojson.kind_of(value)
            raise FatalError(f"json: cannot unmarshal {found} into Go struct field Call.{go_name}")
        call[name] = value
    params = fields.get("params")
    if params is None:
        return
    if not isinstance(params, dict):
        found = gojson.kind_of(params)
        raise FatalError(
            f"json: cannot unmarshal {found} into Go struct field Call.params of type client.Params"
        )
    params = gojson.folded(params)
    version = params.get("version")
    if version is not None:
        if not isinstance(version, int) or isinstance(version, bool):
            found = gojson.kind_of(version)
            raise FatalError(
                f"json: cannot unmarshal {found} into Go struct field Params.params.version "
                "of type int"
            )
        call["version"] = version
    if "options" in params:
        call["options"] = params["options"]


def _answer(service: ServiceClient, call: dict[str, Any], api: Api) -> dict[str, Any]:
    try:
        result = _call(service, call, api)
    except RateLimitedError as error:
        return {"error": {"code": 0, "message": str(error), "data": error.data}}
    except CommandError as error:
        text = str(error)
        if text == "Login required":
            text = api.login_text.get(call["method"], text)
        return {"error": {"code": 0, "message": text}}
    if api.rate_limits and isinstance(result, dict):
        result["ratelimits"] = [{"tank": "chat", "capacity": 900, "reset": 900, "gas": 890}]
    return {} if result is None else {"result": result}


def _call(service: ServiceClient, call: dict[str, Any], api: Api) -> Any:
    if call["version"] not in (0, 1):
        raise CommandError(f"invalid version {call['version']}")
    name = call["method"]
    method = api.methods.get(name)
    if method is None:
        raise CommandError(f'invalid v1 method "{name}"')
    options = call["options"]
    if options is None:
        if method.required:
            raise CommandError(f"invalid {method.prefix} v1 options: empty options")
        options = {}
    if not isinstance(options, dict):
        found = gojson.kind_of(options)
        raise CommandError(
            f"json: cannot unmarshal {found} into Go value of type client.{method.struct}"
        )
    folded = gojson.folded(options)
    for key in ("channel", "message", "pagination"):
        if isinstance(folded.get(key), dict):
            folded[key] = gojson.folded(folded[key])
    try:
        method.check(folded)
    except OptionsError as error:
        prefix = "" if error.bare else f"invalid {method.prefix} v1 options: "
        raise CommandError(f"{prefix}{error}") from None
    return service.call(name, **folded)


def _reply(out: Any, call: dict[str, Any], answer: dict[str, Any], indent: int | None) -> None:
    reply: dict[str, Any] = {}
    if call["jsonrpc"]:
        reply["jsonrpc"] = call["jsonrpc"]
    if call["id"]:
        reply["id"] = call["id"]
    reply |= answer
    pretty = indent if "result" in reply else None
    separators = None if pretty else (",", ":")
    text = json.dumps(reply, ensure_ascii=False, separators=separators, indent=pretty)
    # Go escapes these in every JSON that it writes.
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    out.write(text + "\n")
    out.flush()


# Validation ------------------------------------------------------------------------------------


def _check_target(options: dict[str, Any]) -> None:
    channel, conversation = options.get("channel") or {}, options.get("conversation_id") or ""
    valid = channel.get("name") and channel.get("members_type", "") in ("", *MEMBERS_TYPES)
    if channel.get("name") and conversation:
        raise OptionsError("include channel or conversation_id, not both")
    if not valid and not conversation:
        raise OptionsError("need channel or conversation_id")


def _check_topic(options: dict[str, Any]) -> None:
    channel = options.get("channel") or {}
    topic = channel.get("topic_type") or "chat"
    if topic.lower() not in TOPIC_TYPES:
        raise OptionsError(f"invalid topic type: '{topic}'", bare=True)
    conversation = options.get("conversation_id")
    if conversation and not re.fullmatch(r"(?:[0-9a-fA-F]{2})+", conversation):
        raise OptionsError(f"invalid conversation ID: {conversation}", bare=True)


def _check_channel(options: dict[str, Any]) -> None:
    _check_target(options)
    _check_topic(options)


def _check_send(options: dict[str, Any]) -> None:
    lifetime = options.get("exploding_lifetime")
    if lifetime is not None:
        seconds = _duration(lifetime)
    _check_target(options)
    if not ((options.get("message") or {}).get("body") or ""):
        raise OptionsError("invalid message, body cannot be empty")
    if lifetime is not None and not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        raise OptionsError(
            f"invalid ephemeral lifetime: {lifetime}, must be between 168h0m0s and 30s"
        )
    _check_topic(options)


def _duration(text: str) -> float:
    if not _DURATION.fullmatch(text):
        raise OptionsError(f'time: invalid duration "{text}"', bare=True)
    parts = re.findall(r"([0-9.]+)(ns|us|ms|s|m|h)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _check_list(options: dict[str, Any]) -> None:
    topic = options.get("topic_type") or "chat"
    if topic.lower() not in TOPIC_TYPES:
        raise OptionsError(f"invalid topic type: '{topic}'")


def _check_list_on_name(options: dict[str, Any]) -> None:
    if not options.get("name"):
        raise OptionsError("name required", bare=True)
    if (options.get("members_type") or "team") not in MEMBERS_TYPES:
        raise OptionsError("invalid members type", bare=True)


def _check_get(options: dict[str, Any]) -> None:
    _check_target(options)
    if not options.get("message_ids"):
        raise OptionsError("message_ids required", bare=True)


def _check_edit(options: dict[str, Any]) -> None:
    _check_target(options)
    if not options.get("message_id"):
        raise OptionsError(f"invalid message id '{options.get('message_id') or 0}'")
    if "message" in options and not (options["message"] or {}).get("body"):
        raise OptionsError("invalid message, body cannot be empty")
    _check_topic(options)


def _check_add(options: dict[str, Any]) -> None:
    if not options.get("usernames"):
        raise OptionsError("addtochannel needs at least one user")
    _check_channel(options)


def _check_username(options: dict[str, Any]) -> None:
    if not options.get("username"):
        raise OptionsError("username required")


def _check_team(options: dict[str, Any]) -> None:
    if not options.get("team"):
        raise OptionsError("team name required")


def _no_check(options: dict[str, Any]) -> None:
    """Accept anything."""


CHAT = Api(
    methods={
        "list": Method("list", "listOptionsV1", False, _check_list),
        "listconvsonname": Method(
            "listconvsonname", "listConvsOnNameOptionsV1", True, _check_list_on_name
        ),
        "read": Method("read", "readOptionsV1", True, _check_channel),
        "get": Method("get", "getOptionsV1", True, _check_get),
        "send": Method("send", "sendOptionsV1", True, _check_send),
        "newconv": Method("newconv", "newConvOptionsV1", True, _check_channel),
        "join": Method("newconv", "joinOptionsV1", True, _check_channel),
        "leave": Method("newconv", "leaveOptionsV1", True, _check_channel),
        "edit": Method("edit", "editOptionsV1", True, _check_edit),
        "delete": Method("delete", "deleteOptionsV1", True, _check_edit),
        "mark": Method("mark", "markOptionsV1", True, _check_channel),
        "addtochannel": Method("addtochannel", "addToChannelOptionsV1", True, _check_add),
        "listmembers": Method("read", "listMembersOptionsV1", True, _check_channel),
        "getdeviceinfo": Method("getdeviceinfo", "getDeviceInfoOptionsV1", True, _check_username),
    },
    login_text={},
    rate_limits=True,
)

TEAM = Api(
    methods={
        "list-team-memberships": Method(
            "list-team-memberships", "listTeamOptions", True, _check_team
        ),
        "list-self-memberships": Method(
            "list-self-memberships", "listSelfOptions", False, _no_check
        ),
    },
    login_text={
        "list-team-memberships": "Login required: no sessionArgs available since no login path "
        "worked"
    },
    rate_limits=False,
)
