"""What a device's lines amount to where it has spoken in chat and in the DEV topic."""

from ipaddress import IPv4Address

from nat.machine import Endpoint
from sidecar.announcement import Announcement, Leave
from sidecar.directory.addressing import LEASE
from sidecar.directory.records import MAX_RECORDS, DeviceRecords, Record
from sidecar.identity import PublicKey
from sidecar.keybase.announce_channel import DEV_IDS

NOW = 1_780_000_000.0
KEY, NEW_KEY = PublicKey(bytes([1]) * 32), PublicKey(bytes([2]) * 32)
HERE = Endpoint(IPv4Address("192.0.2.1"), 4000)


def ours(id_: int, at: float, key: PublicKey = KEY) -> Record:
    return Record(id_, NOW + at, Announcement(key, HERE, int((NOW + at) * 1000)))


def leave(id_: int, at: float) -> Record:
    return Record(id_, NOW + at, Leave(int((NOW + at) * 1000)))


def legacy(id_: int, at: float) -> Record:
    return Record(id_, NOW + at, Announcement(NEW_KEY, HERE))


def in_force(*records: Record) -> int | None:
    found = DeviceRecords()
    for record in records:
        found.add(record)
    current = found.standing().current
    return None if current is None else current.id


def test_who_moves_between_the_channels_is_known_by_its_latest_line() -> None:
    assert in_force(ours(5, 0), ours(DEV_IDS + 1, 10)) == DEV_IDS + 1
    assert in_force(ours(DEV_IDS + 1, 0), ours(5, 10)) == 5
    assert in_force(ours(DEV_IDS + 1, 0), leave(DEV_IDS + 2, 10), ours(5, 20)) == 5
    assert in_force(ours(5, 0), leave(DEV_IDS + 1, 10)) is None


def test_who_goes_back_to_the_predecessor_is_heard_in_chat_although_it_was_in_dev() -> None:
    assert in_force(ours(DEV_IDS + 1, 0), leave(DEV_IDS + 2, 10), legacy(5, 20)) == 5
    assert in_force(legacy(5, 0), ours(DEV_IDS + 1, 5), leave(DEV_IDS + 2, 10)) is None
    assert in_force(ours(DEV_IDS + 1, 0), legacy(5, LEASE - 1)) == DEV_IDS + 1
    assert in_force(ours(DEV_IDS + 1, 0), legacy(5, LEASE)) == 5
    assert in_force(ours(DEV_IDS + 1, 0), legacy(5, LEASE), ours(DEV_IDS + 2, 2 * LEASE - 1)) == (
        DEV_IDS + 2
    )


def test_the_oldest_lines_go_whatever_their_ids() -> None:
    talkative = [ours(DEV_IDS + n, n) for n in range(MAX_RECORDS)]

    assert in_force(*talkative, ours(5, MAX_RECORDS)) == 5
