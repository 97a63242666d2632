"""What of that which a device has said counts."""

from sidecar.directory.addressing import LEASE
from sidecar.directory.lines import MAX_DEVICES_PER_USER
from sidecar.directory.records import MAX_RECORDS
from sidecar.identity import NodeId
from sidecar.keybase.models import ChatMessage

from .support import (
    BOB,
    BOB_KEY,
    EVE_KEY,
    ME,
    MY_KEY,
    NOW,
    announced,
    directory,
    leave,
    legacy,
    line,
)


def test_an_edited_message_is_void_whichever_comes_first() -> None:
    edit = ChatMessage(5, BOB, NOW, None, edits=1)

    assert announced(directory(line(1), edit).view()) == {}
    assert announced(directory(edit, line(1)).view()) == {}


def test_a_lower_number_never_replaces_a_higher_one() -> None:
    replayed = line(9, key=EVE_KEY, seq=int(NOW * 1000))

    assert announced(directory(line(1), replayed).view()) == {"bob/server": BOB_KEY}


def test_leave_drops_at_once_and_a_new_announcement_returns() -> None:
    assert announced(directory(line(1), leave(2)).view()) == {}
    assert announced(directory(line(1), leave(2), line(3)).view()) == {"bob/server": BOB_KEY}


def test_a_legacy_line_is_ignored_while_a_versioned_one_lives() -> None:
    live = directory(line(1), legacy(2, key=EVE_KEY, at=NOW + LEASE - 1)).view()
    lapsed = directory(line(1), legacy(2, key=EVE_KEY, at=NOW + LEASE)).view()
    after_leave = directory(line(1), leave(2), legacy(3, key=EVE_KEY)).view()

    assert announced(live) == {"bob/server": BOB_KEY}
    assert announced(lapsed) == announced(after_leave) == {"bob/server": EVE_KEY}


def test_our_next_number_is_higher_than_any_that_we_have_posted() -> None:
    ahead = int((NOW + 60) * 1000)
    subject = directory(line(1, sender=ME, key=MY_KEY, seq=ahead))

    assert subject.next_seq(int(NOW * 1000)) == ahead + 1
    assert subject.next_seq(ahead + 500) == ahead + 500


def test_a_flood_does_not_grow_the_directory() -> None:
    devices = [NodeId("bob", f"{n:032x}", f"d{n}") for n in range(MAX_DEVICES_PER_USER + 30)]
    subject = directory(*(line(n, sender=device) for n, device in enumerate(devices, 1)))
    subject.handle_messages(line(1000 + n, at=NOW + n) for n in range(500))

    assert len(list(subject.messages())) <= MAX_DEVICES_PER_USER + MAX_RECORDS
    assert subject.counters["too-many-devices"] >= 30
