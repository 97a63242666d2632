"""Compose's variables in strings: `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `$$`.

A default may hold variables itself. Unlike Compose, a variable without value and default is an
error rather than an empty string: a lab with a hole in it proves nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from .errors import TopologyError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Variable:
    """A place that a value takes."""

    name: str


@dataclass(frozen=True, slots=True)
class Defaulted:
    """`${NAME:-default}`: used also when the value is empty."""

    name: str
    default: "Template"


@dataclass(frozen=True, slots=True)
class Required:
    """`${NAME:?message}`: an error with this message when unset or empty."""

    name: str
    message: "Template"


Template = tuple[str | Variable | Defaulted | Required, ...]


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace every variable in `text`.

    Raises:
        TopologyError: a variable has neither value nor default, or the text cannot be read.
    """
    return _expand(parse(text), variables)


def names_in(text: str) -> frozenset[str]:
    """Every variable that `text` names, in defaults too.

    Raises:
        TopologyError: the text cannot be read.
    """
    return frozenset(_names(parse(text)))


def parse(text: str) -> Template:
    """Read a string with variables.

    Raises:
        TopologyError: a `$` or a brace that means nothing.
    """
    template, end = _parse(text, 0, inside=False)
    assert end == len(text)
    return template


def _expand(template: Template, variables: Mapping[str, str]) -> str:
    parts: list[str] = []
    for part in template:
        match part:
            case str():
                parts.append(part)
            case Variable(name):
                if name not in variables:
                    raise TopologyError(f"{name} is not set and has no default")
                parts.append(variables[name])
            case Defaulted(name, default):
                parts.append(variables.get(name) or _expand(default, variables))
            case Required(name, message):
                if not variables.get(name):
                    raise TopologyError(f"{name} must be set: {_expand(message, variables)}")
                parts.append(variables[name])
    return "".join(parts)


def _names(template: Template) -> Iterator[str]:
    for part in template:
        match part:
            case str():
                pass
            case Variable(name):
                yield name
            case Defaulted(name, inner) | Required(name, inner):
                yield name
                yield from _names(inner)


def _parse(text: str, position: int, *, inside: bool) -> tuple[Template, int]:
    """Read from `position` on; inside of braces only up to the closing one."""
    parts: list[str | Variable | Defaulted | Required] = []
    while position < len(text):
        stop = re.compile(r"[$}]" if inside else r"\$").search(text, position)
        literal_end = stop.start() if stop else len(text)
        if literal_end > position:
            parts.append(text[position:literal_end])
        position = literal_end
        if stop is None:
            break
        if stop[0] == "}":
            return tuple(parts), position
        if text.startswith("$$", position):
            parts.append("$")
            position += 2
        elif text.startswith("${", position):
            variable, position = _parse_braced(text, position + 2)
            parts.append(variable)
        elif name := _NAME.match(text, position + 1):
            parts.append(Variable(name[0]))
            position = name.end()
        else:
            raise TopologyError(f"a lone $ in {text!r}; write $$ for a dollar sign")
    if inside:
        raise TopologyError(f"a brace is never closed in {text!r}")
    return tuple(parts), position


def _parse_braced(text: str, position: int) -> tuple[Variable | Defaulted | Required, int]:
    name = _NAME.match(text, position)
    if name is None:
        raise TopologyError(f"no variable name after the brace in {text!r}")
    if text.startswith("}", name.end()):
        return Variable(name[0]), name.end() + 1
    operator = text[name.end() : name.end() + 2]
    if operator not in (":-", ":?"):
        raise TopologyError(f"only :- and :? may follow {name[0]} in {text!r}")
    inner, end = _parse(text, name.end() + 2, inside=True)
    kind = Defaulted if operator == ":-" else Required
    return kind(name[0], inner), end + 1
