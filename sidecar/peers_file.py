"""`peers.json`: who has which address and role, edited by the team's writers (design A1).

The predecessor's array of `{"username","device","ip"}`, with optional fields of ours. Keys are
matched without regard to case, as the predecessor's decoder does.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any, Final

from .errors import PeersFileError

MAX_BYTES: Final = 4 * 2**20
"""Bytes; 1,000 entries take 100 KiB."""

NOT_YET: Final = ("routes", "relay")
"""Fields that are accepted, and do nothing yet."""


class MeshRole(StrEnum):
    """What a device may do in the mesh (design A3); `policy` says who talks to whom."""

    SERVER = "server"
    CLIENT = "client"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class PeersFileEntry:
    """One listed device."""

    username: str
    device: str
    ip: IPv4Address
    role: MeshRole


@dataclass(frozen=True, slots=True)
class PeersFile:
    """The entries that can be used, and what is wrong with the others.

    Attributes:
        entries: by (username, device).
        warnings: a sentence each, for the operator.
    """

    entries: dict[tuple[str, str], PeersFileEntry]
    warnings: tuple[str, ...] = ()


def parse_peers_file(content: bytes, subnet: IPv4Network) -> PeersFile:
    """Decode the file. An entry that cannot be used is left out with a warning.

    Raises:
        PeersFileError: torn, empty, or not an array of objects; keep the last good copy.
    """
    if len(content) > MAX_BYTES:
        raise PeersFileError(f"more than {MAX_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PeersFileError("not JSON: torn by a write, or edited by hand") from error
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise PeersFileError("not an array of objects")
    entries: dict[tuple[str, str], PeersFileEntry] = {}
    warnings: list[str] = []
    for number, item in enumerate(document, start=1):
        try:
            entry = _entry({key.lower(): value for key, value in item.items()}, subnet)
        except ValueError as error:
            warnings.append(f"entry {number} is refused: {error}")
            continue
        warnings += [
            f"entry {number}: {name!r} does nothing yet" for name in NOT_YET if name in item
        ]
        key = (entry.username, entry.device)
        if key in entries:
            # The predecessor's rule.
            warnings.append(f"{entry.username}/{entry.device} is listed twice: the last one counts")
        entries[key] = entry
    return PeersFile(_without_shared_addresses(entries, warnings), tuple(warnings))


def _entry(item: dict[str, Any], subnet: IPv4Network) -> PeersFileEntry:
    username, device, ip_text = item.get("username"), item.get("device"), item.get("ip")
    if not isinstance(username, str) or not username:
        raise ValueError("no username")
    if not isinstance(device, str) or not device:
        raise ValueError("no device")
    name = f"{username[:64]}/{device[:64]}"
    try:
        ip = ip_address(ip_text if isinstance(ip_text, str) else "")
    except ValueError:
        raise ValueError(f"{name}: {str(ip_text)[:64]!r} is not an address") from None
    if not isinstance(ip, IPv4Address) or ip not in subnet:
        raise ValueError(f"{name}: {ip} lies outside {subnet}")
    if ip in (subnet.network_address, subnet.broadcast_address):
        raise ValueError(f"{name}: {ip} is no host's address in {subnet}")
    role_text = item.get("role", MeshRole.SERVER.value)
    try:
        role = MeshRole(role_text)
    except ValueError:
        raise ValueError(f"{name}: the role is server, client or guest") from None
    return PeersFileEntry(username.lower(), device, ip, role)


def _without_shared_addresses(
    entries: dict[tuple[str, str], PeersFileEntry], warnings: list[str]
) -> dict[tuple[str, str], PeersFileEntry]:
    """Leave out every later entry for an address that another has."""
    holders: dict[IPv4Address, PeersFileEntry] = {}
    for entry in entries.values():
        holder = holders.setdefault(entry.ip, entry)
        if holder is not entry:
            warnings.append(
                f"{entry.username}/{entry.device} is refused: {entry.ip} belongs to "
                f"{holder.username}/{holder.device}"
            )
    return {(entry.username, entry.device): entry for entry in holders.values()}
