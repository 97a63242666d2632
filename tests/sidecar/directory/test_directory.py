"""Who counts, with which key, in any order of arrival."""

from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.candidate import CandidateType, local_candidate
from nat.machine import Endpoint
from sidecar.announcement import Announcement, encode
from sidecar.directory.records import MAX_AHEAD
from sidecar.health import Condition
from sidecar.identity import NodeId
from sidecar.keybase.models import ChatMessage, Membership, TeamRole
from sidecar.peers_file import MeshRole

from .support import (
    BOB,
    BOB_KEY,
    EVE,
    EVE_KEY,
    ME,
    MESSAGES,
    MY_KEY,
    NOW,
    TEAM,
    announced,
    directory,
    line,
    listed,
)


def test_a_members_announcement_counts() -> None:
    assert announced(directory(line(1)).view()) == {"bob/server": BOB_KEY}


@pytest.mark.parametrize(
    "message",
    [
        line(1, sender=None),
        line(1, sender=NodeId("mallory", "c" * 32, "pc")),
        replace(line(1), revoked_device=True),
        ChatMessage(1, BOB, NOW, "hello"),
        ChatMessage(1, BOB, NOW, None),
        line(1, sender=ME, key=BOB_KEY),
        line(1, seq=int((NOW + MAX_AHEAD + 1) * 1000)),
    ],
    ids=["unnamed", "stranger", "revoked", "chat", "not text", "ourselves", "seq ahead"],
)
def test_what_does_not_count_changes_nothing(message: ChatMessage) -> None:
    assert announced(directory(message).view()) == {}


def test_who_leaves_the_team_is_gone() -> None:
    subject = directory(line(1))
    subject.handle_membership(Membership("acme", {"alice": TeamRole.OWNER}))

    assert announced(subject.view()) == {}


def test_a_restricted_bot_takes_no_part() -> None:
    subject = directory(line(1))
    subject.handle_membership(replace(TEAM, roles={"bob": TeamRole.RESTRICTED_BOT}))

    assert announced(subject.view()) == {}


def test_our_own_key_announced_by_another_is_refused() -> None:
    view = directory(line(1, key=MY_KEY)).view()

    assert announced(view) == {}
    assert [condition for condition, _, _ in view.conditions] == [Condition.DUPLICATE_KEY]


def test_a_key_belongs_to_who_said_it_first() -> None:
    subject = directory(line(2, sender=EVE), line(1), line(3))

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_a_passed_check_decides_whose_a_key_is() -> None:
    subject = directory(line(1, sender=EVE), line(2))
    assert announced(subject.view()) == {"eve/tablet": BOB_KEY}

    subject.confirm_key(BOB, BOB_KEY)

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_candidates_in_the_overlay_are_dropped() -> None:
    inside = Endpoint(IPv4Address("100.64.7.9"), 1)
    outside = Endpoint(IPv4Address("192.168.1.9"), 1)
    candidates = tuple(local_candidate(CandidateType.HOST, e, e) for e in (inside, outside))
    text = encode(Announcement(BOB_KEY, inside, int(NOW * 1000), None, None, candidates))

    (peer,) = directory(ChatMessage(1, BOB, NOW, text)).view().peers

    assert peer.announcement is not None
    assert [c.endpoint for c in peer.announcement.candidates] == [outside]
    assert peer.announcement.endpoint is None


def test_a_listed_device_is_shown_before_it_announces_anything() -> None:
    subject = directory()
    subject.handle_peers_file(
        listed(
            (ME, "100.64.7.1", MeshRole.SERVER),
            (BOB, "100.64.7.2", MeshRole.SERVER),
        )
    )
    view = subject.view()

    assert [(p.username, p.ip, p.announcement) for p in view.peers] == [
        ("bob", IPv4Address("100.64.7.2"), None)
    ]
    assert (view.own_ip, view.own_static) == (IPv4Address("100.64.7.1"), True)


def test_guests_meet_servers_only() -> None:
    subject = directory(line(1), line(2, sender=EVE, key=EVE_KEY))
    subject.handle_peers_file(listed((BOB, "100.64.7.2", MeshRole.SERVER)))

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_a_static_address_ignores_the_claim() -> None:
    subject = directory(line(1, ip="100.64.7.77"))
    subject.handle_peers_file(
        listed((ME, "100.64.7.1", MeshRole.SERVER), (BOB, "100.64.7.2", MeshRole.SERVER))
    )

    assert [peer.ip for peer in subject.view().peers] == [IPv4Address("100.64.7.2")]


@given(MESSAGES, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(messages: list[ChatMessage], random: Random) -> None:
    shuffled = [*messages, *messages[:5]]
    random.shuffle(shuffled)

    assert directory(*shuffled).view() == directory(*messages).view()


def test_a_team_that_is_too_old_to_be_believed_lets_nobody_in_until_it_is_read_again() -> None:
    subject = directory(line(1))

    subject.handle_staleness(True)
    assert subject.view().peers == ()

    subject.handle_staleness(False)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}
