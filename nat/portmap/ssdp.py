"""Searches of SSDP and their answers: how a UPnP gateway is found (UPnP Device Architecture 2.0 §1.3).

Annex A has what differs for IPv6: the group.

What comes back is a status line and headers, as in HTTP. Only two of these are read here; what the
found device says of itself is `async_upnp_client`'s to read.
"""

from dataclasses import dataclass
from typing import Final

from ..errors import PortMappingError

GROUPS: Final = {4: "239.255.255.250", 6: "ff02::c"}
"""Where searches go, by IP version."""

PORT: Final = 1900
"""Of SSDP."""

MAX_WAIT: Final = 1
"""MX: seconds over which answers are spread; there is one gateway."""

_OK: Final = "HTTP/1.1 200"


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: what answers (ST), and the URL at which it describes itself."""

    target: str
    location: str


def encode_search(target: str, group: str = GROUPS[4]) -> bytes:
    """Return a search (§1.3.2) that names the group which it goes to."""
    host = f"[{group}]" if ":" in group else group
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST:{host}:{PORT}",
        'MAN:"ssdp:discover"',
        f"MX:{MAX_WAIT}",
        f"ST:{target}",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def parse_answer(payload: bytes) -> Found:
    """Read an answer (§1.3.3); of a header that comes twice the first counts.

    Raises:
        PortMappingError: it is none.
    """
    head, end, _ = payload.decode("latin-1").partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    if not end or not status.startswith(_OK):
        raise PortMappingError("no answer to a search")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    try:
        return Found(headers["st"], headers["location"])
    except KeyError as error:
        raise PortMappingError("an answer without ST or LOCATION") from error
