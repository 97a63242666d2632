"""Announcements of each device, kept as a bounded set of messages and folded in id order.

The fold of one device: a higher `seq` replaces a lower one, never the reverse; a LEAVE ends it; a
legacy line counts unless a live versioned announcement stands (design S2), by the server's time:
a device may have spoken in chat and in the DEV topic, whose ids are apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ..announcement import Announcement, Leave
from .addressing import LEASE

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
        highest_id: id of that line; 0 for none.
    """

    current: Record | None
    first_with_key: int
    highest_seq: int
    highest_id: int


@dataclass(slots=True)
class DeviceRecords:
    """The lines of one device."""

    records: dict[int, Record] = field(default_factory=dict)
    _standing: Standing | None = None

    def add(self, record: Record) -> tuple[int, ...]:
        """Keep a line; returns the ids of those that had to go, the oldest ones."""
        self._standing = None
        self.records[record.id] = record
        oldest_first = sorted(self.records.values(), key=_age)
        surplus = max(0, len(self.records) - MAX_RECORDS)
        dropped = [record.id for record in oldest_first[:surplus]]
        for id_ in dropped:
            del self.records[id_]
        return tuple(dropped)

    def discard(self, id_: int) -> bool:
        """Forget an edited or deleted line; tell whether there was one."""
        if self.records.pop(id_, None) is None:
            return False
        self._standing = None
        return True

    def forget_before(self, horizon: float) -> tuple[int, ...]:
        """Forget lines sent before a time that say nothing any more; returns their ids.

        What is in force stays, and so does what decides whose a key is and which lines are old.
        """
        standing = self.standing()
        kept = {standing.first_with_key, standing.highest_id}
        if standing.current is not None:
            kept.add(standing.current.id)
        gone = [id_ for id_, r in self.records.items() if r.sent_at < horizon and id_ not in kept]
        for id_ in gone:
            del self.records[id_]
        return tuple(gone)

    def standing(self) -> Standing:
        """Fold the lines."""
        if self._standing is None:
            self._standing = _fold(sorted(self.records.values(), key=lambda record: record.id))
        return self._standing


def _age(record: Record) -> tuple[float, int]:
    """Order lines by age: ids alone do not, where a device speaks in chat and in the DEV topic."""
    return (record.sent_at, record.id)


def _fold(in_order: Sequence[Record]) -> Standing:
    current: Record | None = None
    last: Record | None = None
    highest = highest_id = 0
    for record in in_order:
        seq = record.line.seq
        if seq is None or seq <= highest or seq / 1000 > record.sent_at + MAX_AHEAD:
            continue
        highest, highest_id, last = seq, record.id, record
        current = None if isinstance(record.line, Leave) else record
    legacy = max((record for record in in_order if record.line.seq is None), key=_age, default=None)
    if legacy is not None and _speaks_alone(legacy, last):
        current = legacy
    key = current.line.public_key if current and isinstance(current.line, Announcement) else None
    first = next(
        (
            record.id
            for record in in_order
            if isinstance(record.line, Announcement) and record.line.public_key == key
        ),
        0,
    )
    return Standing(current, first, highest, highest_id)


def _speaks_alone(legacy: Record, last: Record | None) -> bool:
    """Whether a legacy line counts beside the last versioned one of its device."""
    if last is None:
        return True
    if isinstance(last.line, Leave):
        return _age(legacy) > _age(last)
    return legacy.sent_at >= last.sent_at + LEASE
