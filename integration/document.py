"""A place in a YAML document that knows where it is, for error messages that say so."""

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from .errors import TopologyError

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
"""A service is also a host name, a part of a namespace's name and of a file's."""

_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


class Node:
    """A value and the path that led to it.

    Raises:
        TopologyError: from every method that finds another kind of value than it was asked for.
    """

    def __init__(self, value: object, place: str) -> None:
        self.value = value
        self.place = place

    def error(self, text: str) -> TopologyError:
        return TopologyError(f"{self.place}: {text}")

    def allow(self, *keys: str) -> None:
        """Refuse every key but these and `x-…`, which Compose leaves to the file's author."""
        for key in self._mapping():
            if key not in keys and not key.startswith("x-"):
                raise self.error(f"the labs do not understand `{key}`")

    def check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise self.error("a name is 1 to 24 of a-z, 0-9 and -")

    def get(self, key: str) -> object:
        return self._mapping().get(key)

    def child(self, key: str) -> "Node":
        return Node(self.get(key), f"{self.place}: {key}")

    def items(self, key: str) -> Iterator[tuple[str, "Node"]]:
        """List the entries of the mapping at `key`, in order; none if it is absent."""
        child = self.child(key)
        for name, value in child._mapping().items():
            yield name, Node(value, f"{child.place}.{name}")

    def list(self, key: str) -> "list[Node]":
        """List the entries of the list at `key`; none if it is absent."""
        child = self.child(key)
        match child.value:
            case None:
                return []
            case list(entries):
                return [Node(value, f"{child.place}[{i}]") for i, value in enumerate(entries)]
            case _:
                raise child.error("must be a list")

    def text(self) -> str:
        match self.value:
            case str(text):
                return text
            case bool():
                raise self.error("must be a string: put it in quotes")
            case int() | float():
                return str(self.value)
            case _:
                raise self.error("must be a string")

    def strings(self, key: str) -> dict[str, str]:
        """Read the mapping at `key`, or its other form, a list of `NAME=value`."""
        child = self.child(key)
        if not isinstance(child.value, list):
            return {name: node.text() for name, node in self.items(key)}
        pairs = {}
        for node in self.list(key):
            name, equals, value = node.text().partition("=")
            if not equals:
                raise node.error("must be NAME=value")
            pairs[name] = value
        return pairs

    def parsed(self, key: str, parser: Callable[[str], T], *, default: str | None = None) -> T:
        """Read the string at `key` by `parser`."""
        child = self.child(key)
        text = default if child.value is None and default is not None else child.text()
        try:
            return parser(text)
        except ValueError as error:
            raise child.error(str(error)) from error

    def _mapping(self) -> dict[str, object]:
        match self.value:
            case None:
                return {}
            case dict(mapping):
                for key in mapping:
                    if not isinstance(key, str):
                        raise self.error(f"the key {key!r} must be a string")
                return mapping
            case _:
                raise self.error("must be a mapping")


def duration(text: str) -> float:
    """Seconds of a Compose duration such as `1m30s` or `500ms`.

    Raises:
        ValueError: it is not one.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{text!r} is no duration such as 1m30s or 500ms")
    hours, minutes, seconds, milliseconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
