"""Whoever tries to be somebody else, or an older self, changes nothing (issue: who is believed)."""

from dataclasses import replace
from random import Random

import pytest

from sidecar.announcement import Announcement, Leave, encode
from sidecar.directory.addressing import LEASE
from sidecar.directory.directory import Directory
from sidecar.directory.records import MAX_AHEAD
from sidecar.health import Condition
from sidecar.identity import NodeId
from sidecar.keybase.models import ChatMessage, Membership, TeamRole

from .support import (
    BOB,
    BOB_KEY,
    EVE,
    EVE_KEY,
    HERE,
    ME,
    MY_KEY,
    NOW,
    SUBNET,
    TEAM,
    announced,
    directory,
    leave,
    line,
)

BOBS_PHONE = NodeId("bob", "f" * 32, "phone")


def delete(id_: int, deleted: int, sender: NodeId | None) -> ChatMessage:
    return ChatMessage(id_, sender, NOW, None, deletes=(deleted,))


def test_another_user_who_copies_a_members_line_speaks_for_himself_only() -> None:
    genuine = line(1)
    copied = replace(genuine, id=2, sender=EVE)

    view = directory(genuine, copied).view()

    assert announced(view) == {"bob/server": BOB_KEY}
    assert [c for c, _, _ in view.conditions] == [Condition.DUPLICATE_KEY]


def test_another_user_cannot_say_goodbye_for_a_member() -> None:
    assert announced(directory(line(1), leave(2, sender=EVE)).view()) == {"bob/server": BOB_KEY}


def test_another_device_of_the_same_user_cannot_replace_or_end_a_device() -> None:
    subject = directory(
        line(1), line(2, sender=BOBS_PHONE, key=EVE_KEY), leave(3, sender=BOBS_PHONE)
    )

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_a_device_that_takes_the_name_of_another_is_told_from_it_by_its_id() -> None:
    impostor = NodeId("bob", "f" * 32, BOB.device)

    peers = directory(line(1), line(2, sender=impostor, key=EVE_KEY)).view().peers

    assert {
        (p.node.device_id, p.announcement.public_key) for p in peers if p.node and p.announcement
    } == {
        (BOB.device_id, BOB_KEY),
        ("f" * 32, EVE_KEY),
    }


@pytest.mark.parametrize("thief", [EVE, BOBS_PHONE], ids=["another user", "the same user"])
def test_a_stolen_public_key_is_its_owners_again_as_soon_as_a_check_passes(thief: NodeId) -> None:
    subject = directory(line(1, sender=thief), line(2))
    assert subject.view().disputed == {BOB_KEY}

    subject.try_next_holder(BOB_KEY)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}
    subject.confirm_key(BOB, BOB_KEY)
    subject.handle_messages([line(3, sender=thief), line(4, sender=thief)])

    assert announced(subject.view()) == {"bob/server": BOB_KEY}
    assert subject.view().disputed == frozenset()


def test_a_replay_under_a_new_id_and_time_changes_nothing() -> None:
    genuine = line(1, seq=int(NOW * 1000))
    newer = line(2, key=EVE_KEY, seq=int(NOW * 1000) + 5)

    replayed = replace(genuine, id=99, sent_at=NOW + 10 * LEASE)

    assert announced(directory(genuine, newer, replayed).view()) == {"bob/server": EVE_KEY}
    assert announced(directory(replayed, newer, genuine).view()) == {"bob/server": EVE_KEY}


def test_a_replayed_goodbye_ends_nobody() -> None:
    left = leave(2)

    subject = directory(line(1), left, line(3), replace(left, id=50, sent_at=NOW + 60))

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_a_replay_of_years_ago_does_not_push_out_what_is_in_force() -> None:
    """A server that dates an old line into the future must not make us forget the new ones."""
    subject = directory(line(1))
    ancient = line(2, key=EVE_KEY, seq=5, at=NOW + 1e9)

    subject.handle_messages([ancient, line(3, sender=EVE, key=EVE_KEY)])

    assert announced(subject.view()) == {"bob/server": BOB_KEY, "eve/tablet": EVE_KEY}


def test_a_device_whose_clock_went_back_goes_on_numbering_where_it_was() -> None:
    ahead = int((NOW + 300) * 1000)
    mine = directory(line(1, sender=ME, key=MY_KEY, seq=ahead))

    next_one = mine.next_seq(int((NOW - 86_400) * 1000))
    others = directory(
        line(1, seq=ahead),
        line(2, key=EVE_KEY, seq=next_one),
    )

    assert next_one == ahead + 1
    assert announced(others.view()) == {"bob/server": EVE_KEY}


def test_a_device_whose_state_went_back_learns_its_number_from_the_channel() -> None:
    posted = [line(n, sender=ME, key=MY_KEY) for n in (1, 2, 3)]
    restored = directory()
    restored.handle_messages(posted[:1])  # its cache is older than what it has posted

    restored.handle_messages(posted)

    assert restored.next_seq(0) == int(NOW * 1000) + 4


def test_a_clock_that_is_hours_ahead_is_not_believed_and_blocks_nothing() -> None:
    wrong = line(1, key=EVE_KEY, seq=int((NOW + MAX_AHEAD + 3600) * 1000))

    assert announced(directory(wrong, line(2)).view()) == {"bob/server": BOB_KEY}


def test_a_clone_is_told_by_both_and_each_knows_its_own_posts() -> None:
    first, second = directory(), directory()
    posts = [line(n, sender=ME, key=MY_KEY) for n in (1, 2, 3)]
    first.note_own_post(1)
    second.note_own_post(2)
    first.note_own_post(3)
    for subject in (first, second):
        subject.handle_messages(posts)

        told = [c for c, _, _ in subject.view().conditions]

        assert told == [Condition.DUPLICATE_DEVICE]


def test_a_restart_is_no_clone() -> None:
    subject = directory(line(1, sender=ME, key=MY_KEY), line(2, sender=ME, key=MY_KEY))
    subject.note_own_post(3)
    subject.handle_messages([line(3, sender=ME, key=MY_KEY)])

    assert subject.view().conditions == ()


def test_only_the_author_and_who_leads_the_team_can_delete_a_line() -> None:
    for sender, gone in ((EVE, False), (None, False), (BOBS_PHONE, True), (ME, True)):
        for messages in ([line(1), delete(2, 1, sender)], [delete(2, 1, sender), line(1)]):
            assert (announced(directory(*messages).view()) == {}) is gone, sender


def test_an_edit_by_anybody_voids_since_keybase_shows_it_as_the_authors() -> None:
    edit = ChatMessage(5, EVE, NOW, None, edits=1)

    assert announced(directory(line(1), edit).view()) == {}


def test_a_claim_in_anothers_name_is_a_claim_of_ones_own() -> None:
    text = encode(Announcement(EVE_KEY, HERE, int(NOW * 1000) + 9, None, 1))
    subject = directory(
        line(1, ip="100.64.7.9"),
        ChatMessage(9, EVE, NOW, text.replace('"since"', '"ip":"100.64.7.9","since"')),
    )

    assert {p.username: str(p.ip) for p in subject.view().peers} == {
        "bob": "100.64.7.9",
        "eve": "None",
    }


@pytest.mark.parametrize("role", [None, TeamRole.RESTRICTED_BOT, TeamRole.NONE])
def test_removed_reset_or_demoted_users_are_gone_with_their_addresses(
    role: TeamRole | None,
) -> None:
    subject = directory(line(1, ip="100.64.7.9"), line(2, sender=EVE, key=EVE_KEY))
    others = {name: held for name, held in TEAM.roles.items() if name != "bob"}

    subject.handle_membership(
        Membership("acme", others if role is None else others | {"bob": role})
    )

    assert announced(subject.view()) == {"eve/tablet": EVE_KEY}
    assert subject.claim(Random(1))[0] is not None


def test_a_goodbye_of_a_number_that_was_used_is_a_replay() -> None:
    subject = directory(line(1, seq=7), ChatMessage(2, BOB, NOW, encode(Leave(7))))

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_revocation_is_for_good_even_if_the_list_forgets() -> None:
    subject = directory(line(1))
    subject.handle_devices("bob", frozenset({BOB.device_id}), NOW)
    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + 40)

    subject.handle_devices("bob", frozenset({BOB.device_id}), NOW + 80)
    subject.handle_messages([line(9)])

    assert announced(subject.view()) == {}


def of_run(id_: int, run: int) -> ChatMessage:
    text = encode(Announcement(MY_KEY, HERE, int(NOW * 1000) + id_, run=run))
    return ChatMessage(id_, ME, NOW, text)


def agent(run: int, first_post: int) -> Directory:
    subject = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET, own_run=run)
    subject.handle_membership(TEAM)
    subject.handle_messages([line(1)])
    subject.note_own_post(first_post)
    return subject


def test_of_two_agents_as_one_device_the_younger_yields_once_the_older_has_spoken_again() -> None:
    older, younger = agent(run=100, first_post=2), agent(run=200, first_post=3)
    lines = [of_run(2, 100), of_run(3, 200)]
    for subject in (older, younger):
        subject.handle_messages(lines)
    assert older.view().clones.runs == {200}
    assert not younger.view().clones.exist, "line 2 may be of a former run of its own"

    for subject in (older, younger):
        subject.handle_messages([of_run(4, 100)])

    assert announced(older.view()) == {"bob/server": BOB_KEY}
    assert not older.view().clones.yields
    assert younger.view().clones.yields
    assert younger.view().peers == ()
    for subject in (older, younger):
        assert [c for c, _, _ in subject.view().conditions] == [Condition.DUPLICATE_DEVICE]


def test_our_own_line_that_comes_back_before_we_know_its_id_is_no_clones() -> None:
    subject = agent(run=100, first_post=2)

    subject.handle_messages([of_run(2, 100), of_run(3, 100)])

    assert not subject.view().clones.exist


def test_the_younger_that_has_spoken_first_is_heard_once_more_before_it_falls_silent() -> None:
    younger, older = agent(run=200, first_post=2), agent(run=100, first_post=3)
    for subject in (older, younger):
        subject.handle_messages([of_run(2, 200), of_run(3, 100)])
    clones = younger.view().clones
    assert (clones.yields, clones.unheard, clones.silent) == (True, True, False)
    assert not older.view().clones.exist

    younger.note_own_post(4)
    for subject in (older, younger):
        subject.handle_messages([of_run(4, 200)])

    assert younger.view().clones.silent
    assert (older.view().clones.exist, older.view().clones.yields) == (True, False)
