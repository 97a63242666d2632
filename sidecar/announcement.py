"""What a device tells the others: one line of chat text (design S2).

    ANNOUNCE <ip>:<port> <public key> {"v":2,…}   legacy part first: one IPv4 endpoint
    KBWG2 <public key> {"v":2,…}                  no IPv4 endpoint to offer
    LEAVE {"v":2,"seq":…}                         gone; peers drop us at once

The predecessor reads `ANNOUNCE ip:port key` and ignores what follows.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from nat.candidate import Candidate
from nat.machine import Endpoint

from .identity import PublicKey


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
    """

    public_key: PublicKey
    endpoint: Endpoint | None
    seq: int | None = None
    overlay_ip: IPv4Address | None = None
    since: int | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def legacy(self) -> bool:
        """Whether a predecessor posted it: one endpoint, no checks."""
        return self.seq is None


@dataclass(frozen=True, slots=True)
class Leave:
    """A device that goes, and the sequence number that ends its announcements."""

    seq: int
