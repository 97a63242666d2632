"""The directory on disk, so that a restart works while chat is down (design S6)."""

import json
import logging
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from .directory.directory import Directory
from .directory.tenancy import Tenancy
from .errors import PeersFileError
from .identity import NodeId
from .keybase.models import ChatMessage, Membership, TeamRole
from .peers_file import PeersFile, parse_peers_file

_log = logging.getLogger(__name__)

VERSION: Final = 1
"""Of the cache's form; another one is ignored, since chat tells everything again."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: int
    sender: tuple[str, str, str] | None
    sent_at: float
    text: str | None
    deletes: tuple[int, ...] = ()


class _Tenancy(BaseModel):
    model_config = ConfigDict(frozen=True)

    ip: IPv4Address
    device: tuple[str, str]
    first: int
    noticed_at: float
    renewed_at: float


class _Cache(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: int
    team: str
    team_id: str | None = None
    own_ip: IPv4Address | None
    roles: dict[str, TeamRole] | None
    peers_file: list[dict[str, Any]] | None
    """`None`: not known, or known not to exist; see `peers_file_known`."""
    peers_file_known: bool
    messages: tuple[_Message, ...]
    tenancies: tuple[_Tenancy, ...] = ()


def dump(directory: Directory, team: str, *, peers_file_known: bool) -> Iterator[bytes]:
    """Encode what the directory knows, part by part.

    Ten thousand messages as one text would be the most that the agent ever holds in memory.
    """
    entries = directory.peers_file.entries.values() if directory.peers_file else None
    listed = None
    if entries is not None:
        listed = [
            {"username": e.username, "device": e.device, "ip": str(e.ip), "role": e.role.value}
            for e in entries
        ]
    own_ip = directory.view().own_ip
    membership = directory.membership
    head = json.dumps(
        {
            "version": VERSION,
            "team": team,
            "team_id": membership.team_id if membership else None,
            "own_ip": None if own_ip is None else str(own_ip),
            "roles": dict(membership.roles) if membership else None,
            "peers_file": listed,
            "peers_file_known": peers_file_known,
            "tenancies": [
                {
                    "ip": str(ip),
                    "device": known.device,
                    "first": known.first,
                    "noticed_at": known.noticed_at,
                    "renewed_at": known.renewed_at,
                }
                for ip, known in directory.tenancies.known.items()
            ],
        }
    )
    yield f'{head[:-1]}, "messages": ['.encode()
    comma = b""
    for message in directory.messages():
        yield comma + json.dumps(_stored(message)).encode()
        comma = b","
    yield b"]}"


def preferred_address(content: bytes | None) -> IPv4Address | None:
    """Return the overlay address of the last run."""
    cache = _parse(content)
    return None if cache is None else cache.own_ip


def restore(directory: Directory, content: bytes | None, team: str, subnet: IPv4Network) -> bool:
    """Feed a directory from the cache; tell whether it now knows who is in the team.

    A cache of another team, version or form is ignored.
    """
    cache = _parse(content)
    if cache is None or cache.team != team:
        return False
    if cache.roles is not None:
        directory.handle_membership(Membership(team, cache.roles, cache.team_id))
    peers_file: PeersFile | None = None
    if cache.peers_file is not None:
        try:
            peers_file = parse_peers_file(json.dumps(cache.peers_file).encode(), subnet)
        except PeersFileError:
            return False
    if cache.peers_file_known:
        directory.handle_peers_file(peers_file)
    directory.handle_messages(_message(stored) for stored in cache.messages)
    directory.tenancies.restore(
        {
            known.ip: Tenancy(known.device, known.first, known.noticed_at, known.renewed_at)
            for known in cache.tenancies
        }
    )
    return cache.roles is not None and cache.peers_file_known


def _parse(content: bytes | None) -> _Cache | None:
    if content is None:
        return None
    try:
        cache = _Cache.model_validate_json(content)
    except ValidationError:
        _log.warning("cached directory ignored: not what this version wrote")
        return None
    return cache if cache.version == VERSION else None


def _stored(message: ChatMessage) -> dict[str, object]:
    sender = message.sender
    return {
        "id": message.id,
        "sender": None if sender is None else (sender.username, sender.device_id, sender.device),
        "sent_at": message.sent_at,
        "text": message.text,
    }


def _message(stored: _Message) -> ChatMessage:
    sender = None if stored.sender is None else NodeId(*stored.sender)
    return ChatMessage(stored.id, sender, stored.sent_at, stored.text, deletes=stored.deletes)
