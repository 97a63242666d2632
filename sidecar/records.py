"""Announcements of each device, kept as a bounded set of messages and folded in id order.

The fold of one device: a higher `seq` replaces a lower one, never the reverse; a LEAVE ends it; a
legacy line counts unless a live versioned announcement stands (design S2).
"""

from dataclasses import dataclass, field
from typing import Final

from .addressing import LEASE
from .announcement import Announcement, Leave

MAX_AHEAD: Final = 600.0
"""Seconds that a `seq` may be ahead of its message's `sent_at`: more is a wrong clock or a try to
block the device for good."""

MAX_RECORDS: Final = 48
"""Messages kept of one device: two leases at one in five minutes, and room for a bad day."""


@dataclass(frozen=True, slots=True)
class Record:
    """One attested line: message `id`, the server's time in seconds, and what it says."""

    id: int
    sent_at: float
    line: Announcement | Leave


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device's lines amount to.

    Attributes:
        current: the record in force; `None`: gone, or nothing that counts.
        first_with_key: id of the earliest kept line with the current key.
        highest_seq: of all its lines that were accepted.
    """

    current: Record | None
    first_with_key: int
    highest_seq: int


@dataclass(slots=True)
class DeviceRecords:
    """The lines of one device."""

    records: dict[int, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Keep a line; the oldest ones go."""
        self.records[record.id] = record
        while len(self.records) > MAX_RECORDS:
            del self.records[min(self.records)]

    def discard(self, id_: int) -> bool:
        """Forget an edited or deleted line; tell whether there was one."""
        return self.records.pop(id_, None) is not None

    def standing(self) -> Standing:
        """Fold the lines."""
        current: Record | None = None
        highest = 0
        versioned_until = 0.0
        for record in sorted(self.records.values(), key=lambda record: record.id):
            line = record.line
            if isinstance(line, Announcement) and line.legacy:
                if record.sent_at >= versioned_until:
                    current = record
                continue
            seq = line.seq
            assert seq is not None
            if seq <= highest or seq / 1000 > record.sent_at + MAX_AHEAD:
                continue
            highest = seq
            if isinstance(line, Leave):
                current, versioned_until = None, 0.0
            else:
                current, versioned_until = record, record.sent_at + LEASE
        first = min(
            (
                record.id
                for record in self.records.values()
                if current is not None
                and isinstance(record.line, Announcement)
                and isinstance(current.line, Announcement)
                and record.line.public_key == current.line.public_key
            ),
            default=0,
        )
        return Standing(current, first, highest)
