"""A member who claims an address that another holds, for as long as it likes, does not get it."""

from ipaddress import IPv4Address

import pytest

from sidecar import cache
from sidecar.announcement import Announcement, encode
from sidecar.directory.addressing import LEASE
from sidecar.directory.directory import Directory
from sidecar.health import Condition
from sidecar.identity import NodeId, PublicKey
from sidecar.keybase.models import ChatMessage, Membership, TeamRole

from .support import BOB, BOB_KEY, EVE, EVE_KEY, HERE, ME, MY_KEY, NOW, SUBNET, directory

X = IPv4Address("100.64.7.9")
REFRESH = 1500.0


def claim(
    id_: int, at: float, sender: NodeId, key: PublicKey, since: int | None, ip: IPv4Address = X
) -> ChatMessage:
    text = encode(Announcement(key, HERE, int(at * 1000) + id_, ip, since))
    return ChatMessage(id_, sender, at, text)


def log(hours: float, *, since: int | None, pause: float, begin: float) -> list[ChatMessage]:
    """What the channel holds after so many hours: Bob's address, claimed by Eve from `begin` on."""
    bobs = [
        (NOW + n * REFRESH, BOB, BOB_KEY, None if n == 0 else 1000)
        for n in range(int(hours * 3600 / REFRESH))
    ]
    eves = [
        (NOW + begin + n * pause, EVE, EVE_KEY, since)
        for n in range(int((hours * 3600 - begin) / pause))
    ]
    in_order = sorted([*bobs, *eves], key=lambda each: each[0])
    return [claim(1000 + n, *each) for n, each in enumerate(in_order)]


def holder(subject: Directory) -> str | None:
    return next((p.username for p in subject.view().peers if p.ip == X), None)


@pytest.mark.parametrize("since", [None, 1, 999, 1000])
@pytest.mark.parametrize("pause", [60.0, 1500.0, 5000.0])
def test_it_does_not_get_it_from_who_was_there(since: int | None, pause: float) -> None:
    subject = directory()
    for message in log(30.0, since=since, pause=pause, begin=1800.0):
        subject.handle_messages([message])
        assert holder(subject) == "bob"


def play(subject: Directory, messages: list[ChatMessage]) -> None:
    for message in messages:
        subject.handle_messages([message])
        subject.view()


def test_it_is_told_of_as_long_as_it_does_not_give_way() -> None:
    subject = directory()
    messages = log(30.0, since=1, pause=5000.0, begin=1800.0)
    play(subject, messages)

    (told,) = [c for c in subject.view().conditions if c[0] is Condition.ADDRESS_CONTESTED]
    assert told[1] == "eve/tablet"
    assert "eve/tablet claims 100.64.7.9, which bob/server holds, and does not" in told[2]

    at = messages[-1].sent_at
    play(subject, [claim(5000, at + 1.0, EVE, EVE_KEY, None, IPv4Address("100.64.7.77"))])
    play(subject, [claim(5001, at + 2.0, BOB, BOB_KEY, 1000)])
    assert subject.view().conditions == ()


@pytest.mark.parametrize("since", [1, None])
def test_a_restart_does_not_help_it(since: int | None) -> None:
    subject = directory()
    messages = log(40.0, since=since, pause=5000.0, begin=1800.0)
    half = len(messages) // 2
    play(subject, messages[:half])
    content = b"".join(cache.dump(subject, "acme", peers_file_known=True))
    restored = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)
    assert cache.restore(restored, content, "acme", SUBNET)

    for message in messages[half:]:
        restored.handle_messages([message])
        assert holder(restored) == "bob"


def test_who_falls_silent_for_longer_than_a_lease_loses_the_address_as_ever() -> None:
    subject = directory()
    messages = log(10.0, since=1, pause=600.0, begin=1800.0)
    silent_from = NOW + 6 * 3600.0
    last = max(m.sent_at for m in messages if m.sender == BOB and m.sent_at < silent_from)
    for message in messages:
        if message.sender == BOB and message.sent_at >= silent_from:
            continue
        subject.handle_messages([message])
        assert holder(subject) == ("eve" if message.sent_at - last > LEASE else "bob")


def test_who_claims_another_address_gives_it_up() -> None:
    subject = directory()
    messages = log(10.0, since=1, pause=600.0, begin=1800.0)
    play(subject, messages)
    at = messages[-1].sent_at

    play(subject, [claim(5000, at + 1.0, BOB, BOB_KEY, None, IPv4Address("100.64.7.77"))])
    play(subject, [claim(5001, at + 2.0, EVE, EVE_KEY, 1)])

    assert holder(subject) == "eve"


def test_who_leaves_the_team_gives_it_up() -> None:
    subject = directory()
    play(subject, log(10.0, since=1, pause=600.0, begin=1800.0))

    subject.handle_membership(Membership("acme", {"alice": TeamRole.OWNER, "eve": TeamRole.READER}))

    assert holder(subject) == "eve"


def test_a_newcomer_goes_by_who_is_seen_first() -> None:
    messages = log(30.0, since=1, pause=1500.0, begin=1800.0)
    for newest in range(len(messages) - 20, len(messages)):
        window = [m for m in messages[:newest] if m.sent_at > messages[newest].sent_at - 4 * 3600.0]
        first = min(window, key=lambda message: message.id)

        assert first.sender is not None
        assert holder(directory(*window)) == first.sender.username
