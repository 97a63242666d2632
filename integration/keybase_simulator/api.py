"""`keybase chat api` and `keybase team api`: JSON requests in, JSON replies out, in order (§1.1).

The request's struct is declared once outside the real client's loop, so that a field missing
from a request keeps the value of the one before: here too.
"""

import codecs
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from . import gojson, gostruct
from .options import Api, Method, OptionsError
from .rpc import CommandError, RateLimitedError, Runnable, ServiceClient, UsageError
from .terminal import parse_flags

_CALL = gostruct.Struct("Call", {"Jsonrpc": "string", "ID": "int", "Method": "string"})
_PARAMS = gostruct.Struct("Params", {"Version": "int"})

_EMPTY = object()
"""Options that no request has named yet; null is something else."""

_INDENT = 4


class _Call:
    """The struct that every request is decoded into."""

    def __init__(self) -> None:
        self.head = gostruct.zero(_CALL)
        self.version = 0
        self.options: Any = _EMPTY

    def decode(self, request: Any) -> None:
        """Take over what a request says.

        Raises:
            GoJSONError: a value does not fit; all that do are taken over nevertheless.
        """
        folded = _folded(request)
        params = folded.get("params")
        error: gojson.GoJSONError | None = None
        try:
            gostruct.decode(_CALL, request, self.head)
        except gojson.GoJSONError as mismatch:
            error = mismatch
        if isinstance(params, dict):
            parts = _folded(params)
            if "options" in parts:
                self.options = parts["options"]
            error = self._decode_version(parts.get("version")) or error
        elif params is not None and error is None:
            what = gostruct.kind_of(params)
            text = f"json: cannot unmarshal {what} into Go struct field Call.Params of type "
            error = gojson.GoJSONError(text + "client.Params")
        if error is not None:
            raise error

    def _decode_version(self, version: Any) -> gojson.GoJSONError | None:
        params = {"version": self.version}
        try:
            gostruct.decode(_PARAMS, {"Version": version}, params)
        except gojson.GoJSONError as mismatch:
            return gojson.GoJSONError(str(mismatch).replace("Params.", "Params.Params."))
        self.version = params["version"]
        return None


def parse(argv: list[str], api: Api) -> Runnable:
    """Parse the flags that every JSON API has."""
    valued = {"m": "m", "i": "i", "infile": "i", "o": "o", "outfile": "o"}
    options, words = parse_flags(argv, valued, {"p": "p", "pretty": "p"})
    if words:
        raise UsageError("api takes no arguments")
    # An empty -m is no -m: the input is read.
    if options.get("m") and options.get("i"):
        raise UsageError("specify -m or -i, but not both")

    def run(service: ServiceClient) -> None:
        if not options.get("o"):
            _run(service, api, _texts(options), sys.stdout.buffer, pretty="p" in options)
            return
        with open(options["o"], "wb") as out:
            _run(service, api, _texts(options), out, pretty="p" in options)

    return run


def _run(
    service: ServiceClient, api: Api, texts: Iterator[str], out: IO[bytes], *, pretty: bool
) -> None:
    call = _Call()
    try:
        for request in _requests(texts):
            call.decode(request)
            reply, indented = _answer(service, call, api)
            _write(out, call, reply, _INDENT if pretty and indented else None)
    except gojson.GoJSONError as error:
        # What cannot be decoded is answered once, and ends the process; it is no failure.
        _write(out, call, _error(str(error)), None)


def _requests(texts: Iterator[str]) -> Iterator[Any]:
    """Yield requests as soon as they are complete, whatever stands between them."""
    text, position = "", 0
    while True:
        try:
            value, position = gojson.next_value(text, position)
        except (gojson.EndOfInput, gojson.MoreExpected) as error:
            more = next(texts, None)
            if more is None:
                if isinstance(error, gojson.MoreExpected):
                    raise
                return
            text, position = text[position:] + more, 0
            continue
        yield value


def _texts(options: dict[str, str]) -> Iterator[str]:
    if options.get("m"):
        yield options["m"]
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    source = os.open(options["i"], os.O_RDONLY) if options.get("i") else sys.stdin.fileno()
    while chunk := os.read(source, 1 << 16):
        yield decoder.decode(chunk)


def _answer(service: ServiceClient, call: _Call, api: Api) -> tuple[dict[str, Any], bool]:
    """Return the reply, and whether `-p` indents it."""
    try:
        method, options = _checked(call, api)
    except (OptionsError, gojson.GoJSONError) as error:
        return _error(str(error)), api.pretty_errors
    name = call.head["method"]
    try:
        method.prepare(options)
        result = service.call(name, **options)
    except RateLimitedError as error:
        return _error(str(error), error.data), True
    except OptionsError as error:
        return _error(str(error)), True
    except CommandError as error:
        text = str(error)
        if text == "Login required":
            text = api.login_text.get(name, text)
        return _error(text), True
    if api.ratelimits and service.ratelimits and isinstance(result, dict):
        result["ratelimits"] = service.ratelimits
    return ({} if result is None else {"result": result}), True


def _checked(call: _Call, api: Api) -> tuple[Method, dict[str, Any]]:
    if call.version not in (0, 1):
        raise OptionsError(f"invalid version {call.version}")
    name = call.head["method"]
    method = api.methods.get(name)
    if method is None:
        raise OptionsError(f"invalid v1 method {gojson.dumps(name)}")
    if call.options is _EMPTY:
        if method.empty is not None:
            raise OptionsError(f"invalid {method.empty} v1 options: empty options")
        options = gostruct.zero(method.struct)
    else:
        options = gostruct.decode(method.struct, call.options)
    method.check(options)
    return method, options


def _error(text: str, data: Any = None) -> dict[str, Any]:
    error = {"code": 0, "message": text}
    return {"error": error if data is None else error | {"data": data}}


def _write(out: IO[bytes], call: _Call, reply: dict[str, Any], indent: int | None) -> None:
    head = {"jsonrpc": call.head["jsonrpc"], "id": call.head["id"]}
    named = {name: value for name, value in head.items() if value}
    out.write(gojson.dumps(named | reply, indent).encode(errors="replace") + b"\n")
    out.flush()


def _folded(value: Any) -> dict[str, Any]:
    return {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
