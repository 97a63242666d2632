"""Decoding into Go structs: loose keys, zero values, and errors that name the field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .gojson import GoJSONError, Number
from .terminal import parse_duration

Kind = str
"""A Go type: string, bool, int, a named string or unsigned integer, a slice of one ([]T), `bytes`,
`lifetime`."""

STRINGS: Final = ("string", "chat1.ConvIDStr")
UNSIGNED: Final = ("chat1.MessageID",)
_INT_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Struct:
    """A Go struct.

    Attributes:
        name: as errors say it; with its package for `go_type`.
        fields: JSON name, as errors say it, to its type.
        optional: a pointer to it: null and absent are `None` instead of the zero value.
    """

    name: str
    fields: Mapping[str, "Kind | Struct"] = field(default_factory=dict)
    package: str = "client"
    optional: bool = False

    @property
    def go_type(self) -> str:
        """Name with package."""
        return f"{self.package}.{self.name}"


class TypeMismatchError(GoJSONError):
    """A value does not fit its field; Go goes on and reports the first of them at the end."""


class _Decoding:
    def __init__(self) -> None:
        self.first_error: str | None = None

    def mismatch(self, value: Any, struct: Struct | None, path: list[str], go_type: str) -> None:
        if self.first_error is not None:
            return
        where = "Go value"
        if struct is not None:
            where = f"Go struct field {struct.name}.{'.'.join(path)}"
        whole_number = isinstance(value, Number) and go_type in ("int", *UNSIGNED)
        what = f"number {value}" if whole_number else kind_of(value)
        self.first_error = f"json: cannot unmarshal {what} into {where} of type {go_type}"

    def into(self, target: dict[str, Any], struct: Struct, value: Any, path: list[str]) -> None:
        names = {name.lower(): name for name in struct.fields}
        for key, item in value.items():
            name = key if key in struct.fields else names.get(key.lower())
            if name is None:
                continue
            kind = struct.fields[name]
            if isinstance(kind, Struct):
                self._struct(target, name, kind, item, struct, [*path, name])
            else:
                decoded = self._scalar(kind, item, struct, [*path, name])
                if decoded is not None:
                    target[name.lower()] = decoded

    def _struct(
        self,
        target: dict[str, Any],
        name: str,
        kind: Struct,
        item: Any,
        parent: Struct,
        path: list[str],
    ) -> None:
        if item is None:
            if kind.optional:
                target[name.lower()] = None
            return
        if not isinstance(item, dict):
            self.mismatch(item, parent, path, kind.go_type)
            return
        if target.get(name.lower()) is None:
            target[name.lower()] = zero(kind)
        self.into(target[name.lower()], kind, item, path)

    def _scalar(self, kind: Kind, item: Any, struct: Struct, path: list[str]) -> Any:
        """Return the decoded value; `None`: the field keeps what it has."""
        if kind == "lifetime":
            text = item if isinstance(item, str) else "null" if item is None else str(item)
            try:
                return parse_duration(text)
            except ValueError as error:
                # A field with a decoder of its own ends the decoding at once.
                raise GoJSONError(str(error)) from None
        if item is None:
            return None
        if kind.startswith("[]"):
            if not isinstance(item, list):
                self.mismatch(item, struct, path, kind)
                return None
            return [self._scalar(kind[2:], entry, struct, path) for entry in item]
        if kind == "bool" and isinstance(item, bool):
            return item
        if kind in (*STRINGS, "bytes") and isinstance(item, str) and not isinstance(item, Number):
            return item
        if kind in ("int", *UNSIGNED) and isinstance(item, Number):
            number = int(item) if item.removeprefix("-").isdecimal() else None
            if number is not None and abs(number) <= _INT_MAX and (number >= 0 or kind == "int"):
                return number
        self.mismatch(item, struct, path, "[]uint8" if kind == "bytes" else kind)
        return None


def decode(struct: Struct, value: Any, into: dict[str, Any] | None = None) -> dict[str, Any]:
    """Decode a value into a struct; keys of the result are in lower case.

    `into` is the struct as it is: fields that the value lacks keep what they have.

    Raises:
        TypeMismatchError: a value does not fit; everything that does is in `into` nevertheless.
        GoJSONError: a field's own decoder refuses.
    """
    target = zero(struct) if into is None else into
    if value is None:
        return target
    decoding = _Decoding()
    if isinstance(value, dict):
        decoding.into(target, struct, value, [])
    else:
        decoding.mismatch(value, None, [], struct.go_type)
    if decoding.first_error is not None:
        raise TypeMismatchError(decoding.first_error)
    return target


def zero(struct: Struct) -> dict[str, Any]:
    """Return a struct's zero value."""
    return {name.lower(): _zero_of(kind) for name, kind in struct.fields.items()}


def _zero_of(kind: "Kind | Struct") -> Any:
    if isinstance(kind, Struct):
        return None if kind.optional else zero(kind)
    if kind.startswith("[]"):
        return []
    if kind in ("int", "lifetime", *UNSIGNED):
        return 0
    return False if kind == "bool" else ""


def kind_of(value: Any) -> str:
    """Return Go's name of a JSON value's kind, as its errors say it."""
    match value:
        case Number():
            return "number"
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"
