"""What every device has said in the announce channel, and what of it counts (design S4).

A message counts for exactly the device that Keybase attests as its sender, never for what its text
claims.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Final

from ..announcement import Announcement, Leave, decode, encode
from ..errors import AnnouncementError
from ..identity import DeviceKey, NodeId
from ..keybase.models import ChatMessage, TeamRole
from .addressing import Claim
from .ledger import WINDOW, Ledger
from .records import DeviceRecords, Record, Standing
from .revocations import Revocations
from .voids import Voids

MAX_DEVICES_PER_USER: Final = 64
"""Devices of one user whose lines are kept; nobody runs more hosts as one person."""

FORGET_EVERY: Final = 600.0
"""Seconds of the log's time between looks for lines that are too old to matter."""


class Lines:
    """The lines of all devices, members' or not: who is in may change later.

    Args:
        subnet: the overlay network, of which addresses are claimed.
    """

    def __init__(self, subnet: IPv4Network) -> None:
        self.ledger = Ledger(subnet)
        """The claims in them."""
        self.counters: Counter[str] = Counter()
        """Messages that changed nothing, by reason (`sidecar/LOGGING.md`)."""
        self._nodes: dict[DeviceKey, NodeId] = {}
        self._devices: dict[DeviceKey, DeviceRecords] = {}
        self._devices_of: Counter[str] = Counter()
        self._voids = Voids()
        self._withdrawn: dict[DeviceKey, int] = {}
        self._revocations = Revocations()
        self._newest = self._horizon = -math.inf

    # What comes in ---------------------------------------------------------------------------

    def handle_messages(
        self, messages: Iterable[ChatMessage], roles: Mapping[str, TeamRole]
    ) -> None:
        """Take in messages; `roles` say who may delete what others have said."""
        for message in messages:
            if message.edits is not None:
                self._voids.edit(message.edits)
                self._drop(message.edits, lambda _: True)
            for id_ in message.deletes:
                self._handle_deletion(message, id_, roles)
            if message.text is not None:
                self._handle_text(message, message.text, roles)

    def handle_devices(self, username: str, ids: frozenset[str], wall: float) -> bool:
        """Take in which devices of a user are not revoked; tell whether one more is."""
        spoke_at = {
            key: min((record.sent_at for record in records.records.values()), default=wall)
            for key, records in self._devices.items()
            if key[0] == username
        }
        revoked = self._revocations.handle_devices(username, ids, spoke_at, wall)
        self.counters["device-revoked"] += revoked
        return revoked > 0

    def forget_old(self, standings: Mapping[DeviceKey, Standing]) -> None:
        """Forget lines that a newcomer would not read either.

        Args:
            standings: of the devices whose lines tell the time.
        """
        sent = (s.current.sent_at for s in standings.values() if s.current is not None)
        self._newest = max(sent, default=self._newest)
        if self._newest - WINDOW < self._horizon + FORGET_EVERY:
            return
        self._horizon = self._newest - WINDOW
        for key, records in self._devices.items():
            for id_ in records.forget_before(self._horizon):
                self.ledger.remove(key, id_)

    # What they amount to ---------------------------------------------------------------------

    @property
    def nodes(self) -> Mapping[DeviceKey, NodeId]:
        """The names of all devices that have spoken."""
        return self._nodes

    def standings(self, is_member: Callable[[str], bool]) -> dict[DeviceKey, Standing]:
        """Return what each device of a member says, unless it is revoked."""
        return {
            key: records.standing()
            for key, records in self._devices.items()
            if self._counts(key, is_member)
        }

    def withdrawn(self, is_member: Callable[[str], bool]) -> Iterator[NodeId]:
        """Return which devices of members have said nothing since their line became void."""
        for key, id_ in self._withdrawn.items():
            latest = max((record.id for record in self.of(key)), default=0)
            if self._counts(key, is_member) and latest < id_:
                yield self._nodes[key]

    def of(self, device: DeviceKey) -> Collection[Record]:
        """Return the lines of a device."""
        records = self._devices.get(device)
        return () if records is None else records.records.values()

    def highest_seq(self, device: DeviceKey) -> int:
        """Return the highest number of a device's lines; 0 for none."""
        records = self._devices.get(device)
        return 0 if records is None else records.standing().highest_seq

    def messages(self) -> Iterator[ChatMessage]:
        """Return what would make these lines again, for the cache."""
        for key, records in self._devices.items():
            if key not in self._revocations:
                current = records.standing().current
                for record in records.records.values():
                    text = encode(_brief(record, current))
                    yield ChatMessage(record.id, self._nodes[key], record.sent_at, text)

    # Inside ----------------------------------------------------------------------------------

    def _counts(self, device: DeviceKey, is_member: Callable[[str], bool]) -> bool:
        return device not in self._revocations and is_member(device[0])

    def _handle_text(self, message: ChatMessage, text: str, roles: Mapping[str, TeamRole]) -> None:
        sender = message.sender
        if sender is None:
            self.counters["sender-unknown"] += 1
            return
        key = sender.key
        if message.revoked_device:
            self._revocations.add(key)
            self.counters["device-revoked"] += 1
            return
        try:
            line = decode(text)
        except AnnouncementError:
            self.counters["not-an-announcement"] += 1
            return
        deleted_by = self._voids.deleted_by(message.id, sender.username, roles)
        if self._voids.edited(message.id) or deleted_by is not None:
            self.counters["edited-or-deleted"] += 1
            if self._devices_of[sender.username] < MAX_DEVICES_PER_USER:
                self._nodes.setdefault(key, sender)
                self._withdraw(key, message.id)
            return
        records = self._records_of(key)
        if records is None:
            self.counters["too-many-devices"] += 1
            return
        self._nodes[key] = sender
        dropped = records.add(Record(message.id, message.sent_at, line))
        if isinstance(line, Announcement) and line.overlay_ip is not None:
            self.ledger.add(Claim(message.id, message.sent_at, key, line.overlay_ip, line.since))
        for id_ in dropped:
            self.ledger.remove(key, id_)

    def _records_of(self, device: DeviceKey) -> DeviceRecords | None:
        """Return a device's lines; `None`: its user has too many devices for another one."""
        records = self._devices.get(device)
        if records is None and self._devices_of[device[0]] < MAX_DEVICES_PER_USER:
            self._devices_of[device[0]] += 1
            records = self._devices[device] = DeviceRecords()
        return records

    def _handle_deletion(
        self, message: ChatMessage, id_: int, roles: Mapping[str, TeamRole]
    ) -> None:
        if message.sender is None:
            self.counters["sender-unknown"] += 1
            return
        self._voids.delete(id_, message.id, message.sender.username)
        self._drop(id_, lambda author: self._voids.deleted_by(id_, author, roles) is not None)

    def _drop(self, id_: int, may: Callable[[str], bool]) -> None:
        """Forget a message that is void."""
        for key, records in self._devices.items():
            if id_ in records.records and may(key[0]):
                records.discard(id_)
                self._withdraw(key, id_)
                self.ledger.remove(key, id_)
                self.counters["edited-or-deleted"] += 1

    def _withdraw(self, key: DeviceKey, id_: int) -> None:
        self._withdrawn[key] = max(id_, self._withdrawn.get(key, 0))


def _brief(record: Record, current: Record | None) -> Announcement | Leave:
    """Leave out of a line what only the one in force is read for."""
    if record is current or not isinstance(record.line, Announcement) or record.line.legacy:
        return record.line
    return replace(record.line, endpoint=None, candidates=(), nat=None)
