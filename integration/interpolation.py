"""Compose's variables in strings: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `$$`.

A default may hold variables itself. Unlike Compose, a variable without value and default is an
error rather than an empty string: a lab with a hole in it proves nothing.
"""

import re
from collections.abc import Mapping
from typing import Final

from .errors import TopologyError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace every variable in `text`.

    Raises:
        TopologyError: a variable has neither value nor default, or the text cannot be read.
    """
    value, end = _expand(text, 0, variables, inside=False)
    assert end == len(text)
    return value


def names_in(text: str) -> frozenset[str]:
    """Every variable that `text` names, in defaults too.

    Raises:
        TopologyError: the text cannot be read.
    """
    recorder = _Recorder()
    interpolate(text, recorder)
    return frozenset(recorder.seen)


class _Recorder(dict[str, str]):
    """Variables that have no value, so that defaults are walked too, and that are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return False

    def __missing__(self, name: str) -> str:
        self.seen.add(name)
        return ""


def _expand(
    text: str, position: int, variables: Mapping[str, str], *, inside: bool
) -> tuple[str, int]:
    """The text from `position` on; inside of braces only up to the closing one."""
    parts: list[str] = []
    while position < len(text):
        character = text[position]
        if inside and character == "}":
            return "".join(parts), position
        if character != "$":
            parts.append(character)
            position += 1
            continue
        following = text[position + 1 : position + 2]
        if following == "$":
            parts.append("$")
            position += 2
        elif following == "{":
            value, position = _braced(text, position + 2, variables)
            parts.append(value)
        elif match := _NAME.match(text, position + 1):
            parts.append(_value(match[0], variables, text))
            position = match.end()
        else:
            raise TopologyError(f"a lone $ in {text!r}; write $$ for a dollar sign")
    if inside:
        raise TopologyError(f"a brace is never closed in {text!r}")
    return "".join(parts), position


def _braced(text: str, position: int, variables: Mapping[str, str]) -> tuple[str, int]:
    match = _NAME.match(text, position)
    if match is None:
        raise TopologyError(f"no variable name after the brace in {text!r}")
    name = match[0]
    rest = text[match.end() : match.end() + 2]
    if rest.startswith("}"):
        return _value(name, variables, text), match.end() + 1
    if rest not in (":-", ":?"):
        raise TopologyError(f"only :- and :? may follow {name} in {text!r}")
    alternative, end = _expand(text, match.end() + 2, variables, inside=True)
    if variables.get(name):
        return variables[name], end + 1
    if isinstance(variables, _Recorder):
        variables.seen.add(name)
    elif rest == ":?":
        raise TopologyError(f"{name} must be set: {alternative}")
    return alternative, end + 1


def _value(name: str, variables: Mapping[str, str], text: str) -> str:
    if name not in variables and not isinstance(variables, _Recorder):
        raise TopologyError(f"{name} is not set and has no default in {text!r}")
    return variables[name]
