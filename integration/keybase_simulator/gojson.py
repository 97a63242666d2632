"""JSON as Go's `encoding/json` reads and writes it: error texts, streams, escapes.

What is well formed is left to Python's decoder; the scanner below finds Go's words for the rest.
"""

import json
import re
from typing import Any, Final


class GoJSONError(Exception):
    """A text that Go refuses; the message is Go's."""


class EndOfInput(GoJSONError):
    """There is no further value."""


class MoreExpected(GoJSONError):
    """The text ends in the middle of a value."""


class Number(str):
    """A number as it was written, for Go's errors quote it."""

    __slots__ = ()


_SPACE: Final = " \t\r\n"
_LITERALS: Final = {"t": "true", "f": "false", "n": "null"}
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
)


def next_value(text: str, position: int = 0) -> tuple[Any, int]:
    """Return the value at `position`, numbers as `Number`, and where it ends.

    Raises:
        EndOfInput: only white space is left.
        MoreExpected: the value is not complete.
        GoJSONError: what stands there is no JSON.
    """
    start = _skip(text, position)
    if start == len(text):
        raise EndOfInput("EOF")
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        # The scanner raises; if it does not, Python was stricter than Go is.
        _scan_value(text, start, "looking for beginning of value")
        raise GoJSONError("invalid character in string literal") from None
    return _well_formed(value) if "\\u" in text else value, end


def loads(text: str) -> Any:
    """Decode exactly one value.

    Raises:
        GoJSONError: it is none, or something follows it.
    """
    try:
        value, end = next_value(text)
    except (EndOfInput, MoreExpected):
        raise GoJSONError("unexpected end of JSON input") from None
    rest = _skip(text, end)
    if rest < len(text):
        raise _refuse(text[rest], "after top-level value")
    return value


def dumps(value: Any, indent: int | None = None) -> str:
    """Encode as Go's encoder does, which escapes what HTML could misread."""
    separators = None if indent else (",", ":")
    text = json.dumps(value, ensure_ascii=False, separators=separators, indent=indent)
    for char in "&<>\u2028\u2029":
        if char in text:
            text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _well_formed(value: Any) -> Any:
    match value:
        case Number():
            return value
        case str():
            return _LONE_SURROGATE.sub("\ufffd", value)
        case list():
            return [_well_formed(item) for item in value]
        case dict():
            return {_well_formed(key): _well_formed(item) for key, item in value.items()}
        case _:
            return value


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _at(text: str, position: int) -> str:
    if position >= len(text):
        raise MoreExpected("invalid JSON: expected more JSON in input")
    return text[position]


def _refuse(char: str, context: str) -> GoJSONError:
    shown = {"'": "'\\''", '"': "'\"'", "\n": "'\\n'", "\t": "'\\t'", "\r": "'\\r'", "\\": "'\\\\'"}
    quoted = shown.get(char) or (f"'\\x{ord(char):02x}'" if char < " " else f"'{char}'")
    return GoJSONError(f"invalid character {quoted} {context}")


def _scan_value(text: str, position: int, context: str) -> int:
    char = _at(text, position)
    if char == '"':
        return _scan_string(text, position)
    if char in "{[":
        return _scan_members(text, position, "}" if char == "{" else "]")
    if char in _LITERALS:
        word = _LITERALS[char]
        for offset, expected in enumerate(word):
            found = _at(text, position + offset)
            if found != expected:
                raise _refuse(found, f"in literal {word} (expecting '{expected}')")
        return position + len(word)
    if char == "-" or char in "0123456789":
        return _scan_number(text, position)
    raise _refuse(char, context)


def _scan_number(text: str, position: int) -> int:
    match = _NUMBER.match(text, position)
    if match is None:
        raise _refuse(_at(text, position + 1), "in numeric literal")
    end = match.end()
    rest = text[end : end + 1]
    if rest == "." and "." not in match.group() and "e" not in match.group().lower():
        raise _refuse(_at(text, end + 1), "after decimal point in numeric literal")
    if rest in ("e", "E") and "e" not in match.group().lower():
        sign = _at(text, end + 1) in "+-"
        raise _refuse(_at(text, end + 1 + sign), "in exponent of numeric literal")
    return end


def _scan_string(text: str, position: int) -> int:
    end = position + 1
    while (char := _at(text, end)) != '"':
        if char == "\\":
            end += 1
            escape = _at(text, end)
            if escape == "u":
                for _ in range(4):
                    end += 1
                    digit = _at(text, end)
                    if digit not in "0123456789abcdefABCDEF":
                        raise _refuse(digit, "in \\u hexadecimal character escape")
            elif escape not in '"\\/bfnrt':
                raise _refuse(escape, "in string escape code")
        elif char < " ":
            raise _refuse(char, "in string literal")
        end += 1
    return end + 1


def _scan_members(text: str, position: int, closer: str) -> int:
    is_object = closer == "}"
    position = _skip(text, position + 1)
    if _at(text, position) == closer:
        return position + 1
    while True:
        if is_object:
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
            what = "after object key:value pair" if is_object else "after array element"
            raise _refuse(char, what)
        position = _skip(text, position + 1)
