"""JSON as Go's `encoding/json` reads it: its error texts, its streams, its loose keys."""

import json
from typing import Any


class GoJSONError(Exception):
    """A text that Go refuses; the message is Go's."""


class EndOfInput(Exception):
    """There is no further value."""


class MoreExpected(GoJSONError):
    """The text ends in the middle of a value."""


_SPACE = " \t\r\n"
_LITERALS = {"t": "true", "f": "false", "n": "null"}


def next_value(text: str, position: int) -> tuple[Any, int]:
    """Return the value at `position` and where the next one may start.

    Raises:
        EndOfInput: only white space is left.
        GoJSONError: what stands there is no JSON.
    """
    start = _skip(text, position)
    if start == len(text):
        raise EndOfInput
    end = _scan_value(text, start, "looking for beginning of value")
    return json.loads(text[start:end]), end


def loads(text: str) -> Any:
    """Decode one value."""
    try:
        return next_value(text, 0)[0]
    except EndOfInput:
        raise MoreExpected("unexpected end of JSON input") from None


def folded(value: Any) -> dict[str, Any]:
    """Return an object with lower-case keys: Go matches field names without regard to case."""
    return {key.lower(): item for key, item in value.items()}


def kind_of(value: Any) -> str:
    """Return Go's name of a JSON value's kind, as its unmarshal errors say it."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case float():
            return f"number {json.dumps(value)}"
        case int():
            return "number"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _at(text: str, position: int) -> str:
    if position >= len(text):
        raise MoreExpected("invalid JSON: expected more JSON in input")
    return text[position]


def _refuse(char: str, context: str) -> GoJSONError:
    shown = {"'": "'\\''", '"': "'\"'"}.get(char, f"'{char}'")
    return GoJSONError(f"invalid character {shown} {context}")


def _scan_value(text: str, position: int, context: str) -> int:
    char = _at(text, position)
    if char == '"':
        return _scan_string(text, position)
    if char == "{":
        return _scan_members(text, position, "}")
    if char == "[":
        return _scan_members(text, position, "]")
    if char in _LITERALS:
        word = _LITERALS[char]
        for offset, expected in enumerate(word):
            found = _at(text, position + offset)
            if found != expected:
                raise _refuse(found, f"in literal {word} (expecting '{expected}')")
        return position + len(word)
    if char == "-" or char.isdigit():
        end = position + 1
        while end < len(text) and (text[end].isdigit() or text[end] in "+-.eE"):
            end += 1
        try:
            json.loads(text[position:end])
        except ValueError:
            raise _refuse(char, "in numeric literal") from None
        return end
    raise _refuse(char, context)


def _scan_string(text: str, position: int) -> int:
    end = position + 1
    while (char := _at(text, end)) != '"':
        if char == "\\":
            end += 1
        elif char < " ":
            raise _refuse(char, "in string literal")
        end += 1
    try:
        json.loads(text[position : end + 1])
    except ValueError:
        raise GoJSONError("invalid character in string escape code") from None
    return end + 1


def _scan_members(text: str, position: int, closer: str) -> int:
    position = _skip(text, position + 1)
    if _at(text, position) == closer:
        return position + 1
    while True:
        if closer == "}":
            if _at(text, position) != '"':
                raise _refuse(text[position], "looking for beginning of object key string")
            position = _skip(text, _scan_string(text, position))
            if _at(text, position) != ":":
                raise _refuse(text[position], "after object key")
            position = _skip(text, position + 1)
        position = _scan_value(text, position, "looking for beginning of value")
        position = _skip(text, position)
        char = _at(text, position)
        if char == closer:
            return position + 1
        if char != ",":
            what = "after object key:value pair" if closer == "}" else "after array element"
            raise _refuse(char, what)
        position = _skip(text, position + 1)
