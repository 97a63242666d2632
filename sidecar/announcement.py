"""What a device tells the others: one line of chat text (design S2).

    ANNOUNCE <ip>:<port> <public key> {"v":2,…}   legacy part first: one IPv4 endpoint
    KBWG2 <public key> {"v":2,…}                  no IPv4 endpoint to offer
    LEAVE {"v":2,"seq":…}                         gone; peers drop us at once

The predecessor reads `ANNOUNCE ip:port key` wherever it stands in a text, first match wins, and
ignores what follows; so no line of ours holds a second match. We read from the start only. The
tail is one JSON object, `Tail`, whose schema is published in `announcement.schema.json`.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from nat.candidate import Candidate, is_reachable_address, parse_candidate
from nat.errors import CandidateError
from nat.machine import Endpoint

from .errors import AnnouncementError, IdentityError
from .identity import PublicKey

VERSION: Final = 2
"""Version of the tail; the bare legacy line counts as 1."""

MAX_BYTES: Final = 4096
"""Bytes of the longest line, sent or read: Keybase takes 10,000, a busy channel is read often."""

MAX_CANDIDATES: Final = 16
"""Candidates of one device: four interfaces of two families with their reflexive addresses."""

REMEMBERED: Final = 2_048
"""Keys, addresses and lists of candidates that are not made anew each time: a device says the same
ones in line after line, and so they take memory only once, too."""


class NatHint(BaseModel):
    """What a device knows of the NAT in front of it. A hint: nothing is left untried for it."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    mapping: Annotated[str, StringConstraints(max_length=40)] | None = None
    """RFC 4787 §4.1: `none`, `endpoint-independent`, `address-dependent`,
    `address-and-port-dependent`, or `destination-dependent` for one of the last two. Anything else
    says nothing."""

    filtering: Annotated[str, StringConstraints(max_length=40)] | None = None
    """RFC 4787 §5: `endpoint-independent`, `address-dependent` or `address-and-port-dependent`.
    Anything else says nothing."""

    @property
    def mapping_varies(self) -> bool:
        """Whether the NAT is known to show another endpoint to each destination."""
        return self.mapping in (
            "address-dependent",
            "address-and-port-dependent",
            "destination-dependent",
        )


@dataclass(frozen=True, slots=True)
class Announcement:
    """A device and how to reach it.

    Attributes:
        public_key: its WireGuard key.
        endpoint: the legacy part: the best guess of one IPv4 endpoint.
        seq: orders one device's announcements, milliseconds since the epoch at least;
            `None`: a legacy line without a tail.
        overlay_ip: address claimed by a member without a static entry (design A2).
        since: message id of the holder's first claim of `overlay_ip`.
        candidates: where it may be reached, best first.
        nat: what it knows of its NAT.
        run: which run of its agent says so; two at once are two agents as one device.
    """

    public_key: PublicKey
    endpoint: Endpoint | None
    seq: int | None = None
    overlay_ip: IPv4Address | None = None
    since: int | None = None
    candidates: tuple[Candidate, ...] = ()
    nat: NatHint | None = None
    run: int | None = None

    @property
    def legacy(self) -> bool:
        """Whether a predecessor posted it: one endpoint, no checks."""
        return self.seq is None


@dataclass(frozen=True, slots=True)
class Leave:
    """A device that goes, and the sequence number that ends its announcements."""

    seq: int


class Tail(BaseModel):
    """The versioned tail of a line. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    v: Annotated[int, Field(ge=2, le=2)] = VERSION
    """Version. A reader that does not know it uses the legacy part alone."""

    seq: Annotated[int, Field(ge=1, le=2**53 - 1)]
    """Order of this device's lines: milliseconds since the epoch, or the last one plus 1."""

    ip: IPv4Address | None = None
    """Overlay address claimed by a device without an entry in `peers.json`."""

    since: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = None
    """Message id of the first claim of `ip` in an unbroken row."""

    cand: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=200)], ...], Field(max_length=64)
    ] = ()
    """Candidates (RFC 8839 §5.1 without `candidate:`), best first; at most 16 are used."""

    nat: NatHint | None = None
    """The NAT in front of the device, as far as it is known."""

    run: Annotated[int, Field(ge=1, le=2**53 - 1)] | None = None
    """Which run of the device's agent says so: when it began, milliseconds since the epoch."""

    @field_validator("nat", mode="wrap")
    @classmethod
    def _hints_spoil_nothing(
        cls, value: object, handler: ValidatorFunctionWrapHandler
    ) -> NatHint | None:
        try:
            hint: NatHint | None = handler(value)
        except ValidationError:
            return None
        return hint


def encode(announcement: Announcement | Leave) -> str:
    """Return the line; the least candidates are left out if it would be too long."""
    if isinstance(announcement, Leave):
        return "LEAVE " + _tail(seq=announcement.seq)
    head = (
        f"KBWG2 {announcement.public_key}"
        if announcement.endpoint is None
        else f"ANNOUNCE {announcement.endpoint} {announcement.public_key}"
    )
    if announcement.seq is None:
        return head
    candidates = [c.to_sdp() for c in announcement.candidates[:MAX_CANDIDATES]]
    while True:
        line = f"{head} " + _tail(
            seq=announcement.seq,
            ip=None if announcement.overlay_ip is None else str(announcement.overlay_ip),
            since=announcement.since,
            cand=candidates or None,
            nat=None
            if announcement.nat is None
            else announcement.nat.model_dump(exclude_none=True),
            run=announcement.run,
        )
        if len(line.encode()) <= MAX_BYTES or not candidates:
            return line
        candidates.pop()


def decode(text: str) -> Announcement | Leave:
    """Read a line. Candidates that make no sense are left out, the rest stands.

    Raises:
        AnnouncementError: not a line of ours or of the predecessor.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise AnnouncementError("longer than any announcement")
    if text.startswith("LEAVE "):
        tail = _parse_tail(text[len("LEAVE ") :])
        if tail is None:
            raise AnnouncementError("LEAVE of an unknown version")
        return Leave(tail.seq)
    match = _LINE.match(text)
    if match is None:
        raise AnnouncementError("not an announcement")
    key = _public_key(match["key"] or match["only_key"])
    endpoint = _endpoint(match["ip"], match["port"]) if match["ip"] else None
    tail = _parse_tail(text[match.end() :])
    if tail is None:
        if endpoint is None:
            raise AnnouncementError("no endpoint and no tail that we understand")
        return Announcement(key, endpoint)
    return Announcement(
        public_key=key,
        endpoint=endpoint,
        seq=tail.seq,
        overlay_ip=None if tail.ip is None else _ipv4(int(tail.ip)),
        since=tail.since,
        candidates=_candidates(tail.cand),
        nat=None if tail.nat is None else _hint(tail.nat.mapping, tail.nat.filtering),
        run=tail.run,
    )


_LINE: Final = re.compile(
    r"(?:ANNOUNCE (?P<ip>[0-9]{1,3}(?:\.[0-9]{1,3}){3}):(?P<port>[0-9]{1,5}) "
    r"(?P<key>[A-Za-z0-9+/]{43}=)|KBWG2 (?P<only_key>[A-Za-z0-9+/]{43}=))(?![A-Za-z0-9+/=])"
)


def _tail(**fields: object) -> str:
    present = {"v": VERSION, **{k: v for k, v in fields.items() if v is not None}}
    return json.dumps(present, separators=(",", ":"), ensure_ascii=True)


def _parse_tail(text: str) -> Tail | None:
    """Read the JSON behind the head; `None`: there is none that we understand."""
    try:
        return Tail.model_validate_json(text.strip())
    except (ValidationError, ValueError):
        return None


@lru_cache(REMEMBERED)
def _public_key(text: str) -> PublicKey:
    try:
        key = PublicKey.from_base64(text)
    except IdentityError as error:
        raise AnnouncementError("not a public key") from error
    if str(key) != text:
        raise AnnouncementError("not the canonical form of a public key")
    return key


@lru_cache(REMEMBERED)
def _ipv4(number: int) -> IPv4Address:
    return IPv4Address(number)


@lru_cache(REMEMBERED)
def _hint(mapping: str | None, filtering: str | None) -> NatHint:
    return NatHint(mapping=mapping, filtering=filtering)


@lru_cache(REMEMBERED)
def _endpoint(ip_text: str, port_text: str) -> Endpoint:
    try:
        ip = IPv4Address(ip_text)
    except ValueError as error:
        raise AnnouncementError("not an IPv4 address") from error
    port = int(port_text)
    if not 0 < port < 65536 or not is_reachable_address(ip):
        raise AnnouncementError("an endpoint that no peer can have")
    return Endpoint(ip, port)


@lru_cache(REMEMBERED)
def _candidates(texts: tuple[str, ...]) -> tuple[Candidate, ...]:
    candidates: dict[Endpoint, Candidate] = {}
    for text in texts:
        try:
            candidate = parse_candidate(text)
        except CandidateError:
            continue
        candidates.setdefault(candidate.endpoint, candidate)
    return tuple(candidates.values())[:MAX_CANDIDATES]
