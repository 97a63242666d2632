"""Changes of `peers.json` by hand, as functions of its text (design A1). Pure.

What we do not understand stays as it is: fields of other versions, the order of the entries, and
entries that we would refuse. The result is what the predecessor reads, too.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from .errors import PeersFileError
from .peers_file import MeshRole

Edit = Callable[[bytes | None], bytes]
"""Makes the new content from the current one; `None`: there is no file yet.

May be called again on newer content, if somebody else has written meanwhile."""


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A device as `peers.json` names it."""

    username: str
    device: str

    def __str__(self) -> str:
        return f"{self.username}/{self.device}"

    @classmethod
    def parse(cls, text: str) -> "DeviceName":
        """Read `USERNAME/DEVICE`.

        Raises:
            PeersFileError: not of that form.
        """
        username, slash, device = text.partition("/")
        if not (slash and username.strip() and device.strip()):
            raise PeersFileError(f"{text!r} is not USERNAME/DEVICE")
        # Keybase's user names are lower case; device names are compared to the letter.
        return cls(username.strip().lower(), device.strip())


def listing(name: DeviceName, ip: IPv4Address, role: MeshRole | None) -> Edit:
    """Return the edit that lists a device, or changes how it is listed.

    Args:
        name: the device.
        ip: its overlay address.
        role: its role; `None`: what it is, or the default.
    """

    def edit(content: bytes | None) -> bytes:
        entries = _entries(content)
        for entry in entries:
            other = _name(entry)
            if _field(entry, "ip") == str(ip) and other != name:
                raise PeersFileError(f"{ip} belongs to {other} already")
        matching = [entry for entry in entries if _name(entry) == name]
        if not matching:
            entries.append({"username": name.username, "device": name.device})
            matching = entries[-1:]
        # Of several the last one counts.
        _set(matching[-1], "ip", str(ip))
        if role is not None:
            _set(matching[-1], "role", role.value)
        return render(entries)

    return edit


def unlisting(name: DeviceName) -> Edit:
    """Return the edit that takes a device off the list."""

    def edit(content: bytes | None) -> bytes:
        entries = _entries(content)
        kept = [entry for entry in entries if _name(entry) != name]
        if len(kept) == len(entries):
            raise PeersFileError(f"{name} is not listed")
        return render(kept)

    return edit


def render(entries: list[dict[str, Any]]) -> bytes:
    """Return the text of a file: an entry a line, so that a person can read and compare it."""
    lines = (json.dumps(entry, ensure_ascii=False) for entry in entries)
    return ("[\n  " + ",\n  ".join(lines) + "\n]\n" if entries else "[]\n").encode()


def _entries(content: bytes | None) -> list[dict[str, Any]]:
    if content is None:
        return []
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PeersFileError(
            f"peers.json is not JSON, mend it by `kbwg peers edit`: {error}"
        ) from error
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise PeersFileError("peers.json is not an array of objects: mend it by `kbwg peers edit`")
    return document


def _name(entry: dict[str, Any]) -> DeviceName:
    return DeviceName(str(_field(entry, "username")).lower(), str(_field(entry, "device")))


def _field(entry: dict[str, Any], name: str) -> object:
    """Return a field whose key may be written in any case, as Go's decoder takes it."""
    return next((value for key, value in entry.items() if key.lower() == name), None)


def _set(entry: dict[str, Any], name: str, value: str) -> None:
    key = next((key for key in entry if key.lower() == name), name)
    entry[key] = value
