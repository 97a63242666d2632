"""Who counts, with which key, in any order of arrival."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.candidate import CandidateType, local_candidate
from nat.machine import Endpoint
from sidecar import cache
from sidecar.addressing import LEASE
from sidecar.announcement import Announcement, Leave, encode
from sidecar.directory import MAX_DEVICES_PER_USER, Directory, DirectoryView
from sidecar.health import Condition
from sidecar.identity import NodeId, PublicKey
from sidecar.keybase.models import ChatMessage, Membership, TeamRole
from sidecar.peers_file import MeshRole, PeersFile, PeersFileEntry
from sidecar.records import MAX_AHEAD, MAX_RECORDS
from sidecar.revocations import LONGEST_CACHE
from sidecar.team_config import Policy

SUBNET = IPv4Network("100.64.7.0/24")
ME = NodeId("alice", "a" * 32, "laptop")
BOB = NodeId("bob", "b" * 32, "server")
EVE = NodeId("eve", "e" * 32, "tablet")
MY_KEY, BOB_KEY, EVE_KEY = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3))
HERE = Endpoint(IPv4Address("203.0.113.9"), 4000)
TEAM = Membership("acme", {"alice": TeamRole.OWNER, "bob": TeamRole.WRITER, "eve": TeamRole.READER})
NOW = 1_780_000_000.0


def line(
    id_: int,
    sender: NodeId | None = BOB,
    key: PublicKey = BOB_KEY,
    *,
    seq: int | None = None,
    at: float = NOW,
    ip: str | None = None,
    endpoint: Endpoint | None = HERE,
) -> ChatMessage:
    number = int(at * 1000) + id_ if seq is None else seq
    overlay = None if ip is None else IPv4Address(ip)
    text = encode(Announcement(key, endpoint, number, overlay))
    return ChatMessage(id_, sender, at, text)


def legacy(
    id_: int, sender: NodeId = BOB, key: PublicKey = BOB_KEY, at: float = NOW
) -> ChatMessage:
    return ChatMessage(id_, sender, at, encode(Announcement(key, HERE)))


def leave(id_: int, sender: NodeId = BOB, at: float = NOW) -> ChatMessage:
    return ChatMessage(id_, sender, at, encode(Leave(int(at * 1000) + id_)))


def directory(*messages: ChatMessage) -> Directory:
    result = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)
    result.handle_membership(TEAM)
    result.handle_messages(messages)
    return result


def announced(view: DirectoryView) -> dict[str, PublicKey]:
    return {
        str(peer.node): peer.announcement.public_key
        for peer in view.peers
        if peer.announcement is not None
    }


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


def test_a_revoked_device_is_gone_with_all_it_said() -> None:
    subject = directory(line(1), replace(line(2), revoked_device=True))

    assert announced(subject.view()) == {}


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


def listed(*entries: tuple[NodeId, str, MeshRole]) -> PeersFile:
    return PeersFile(
        {
            (node.username, node.device): PeersFileEntry(
                node.username, node.device, IPv4Address(ip), role
            )
            for node, ip, role in entries
        }
    )


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


@pytest.mark.parametrize(
    ("bobs_entry", "policy", "told"),
    [
        (MeshRole.GUEST, Policy.ROLES, {"bob"}),
        (None, Policy.ROLES, {"bob"}),
        (MeshRole.CLIENT, Policy.ROLES, set()),
        (MeshRole.GUEST, Policy.MESH, set()),
    ],
)
def test_a_guest_who_may_edit_the_file_is_told_of(
    bobs_entry: MeshRole | None, policy: Policy, told: set[str]
) -> None:
    subject = directory(line(1), line(2, sender=EVE, key=EVE_KEY))  # Eve only reads
    entries = [(ME, "100.64.7.1", MeshRole.SERVER)]
    if bobs_entry is not None:
        entries.append((BOB, "100.64.7.2", bobs_entry))
    subject.handle_peers_file(listed(*entries))
    subject.handle_policy(policy)

    conditions = subject.view().conditions

    assert {who for c, who, _ in conditions if c is Condition.GUESTS_CAN_WRITE} == told


def test_a_static_address_ignores_the_claim() -> None:
    subject = directory(line(1, ip="100.64.7.77"))
    subject.handle_peers_file(
        listed((ME, "100.64.7.1", MeshRole.SERVER), (BOB, "100.64.7.2", MeshRole.SERVER))
    )

    assert [peer.ip for peer in subject.view().peers] == [IPv4Address("100.64.7.2")]


def test_our_address_is_used_after_the_claim_was_read_back() -> None:
    subject = directory()
    ip, since = subject.claim(Random(1))
    assert ip is not None
    assert since is None
    assert subject.view().own_ip is None
    assert subject.claim(Random(2)) == (ip, None)

    subject.handle_messages([line(7, sender=ME, key=MY_KEY, ip=str(ip))])

    assert subject.view().own_ip == ip
    assert subject.claim(Random(3)) == (ip, 7)


def test_who_loses_a_claim_picks_another_address() -> None:
    subject = directory()
    ip, _ = subject.claim(Random(1))

    subject.handle_messages([line(6, ip=str(ip)), line(7, sender=ME, key=MY_KEY, ip=str(ip))])

    assert subject.view().own_ip is None
    assert subject.claim(Random(1))[0] not in (None, ip)


def test_our_next_number_is_higher_than_any_that_we_have_posted() -> None:
    ahead = int((NOW + 60) * 1000)
    subject = directory(line(1, sender=ME, key=MY_KEY, seq=ahead))

    assert subject.next_seq(int(NOW * 1000)) == ahead + 1
    assert subject.next_seq(ahead + 500) == ahead + 500


def test_a_second_agent_of_this_device_is_noticed() -> None:
    subject = directory(line(1, sender=ME, key=MY_KEY))
    subject.note_own_post(1)
    assert subject.view().conditions == ()

    subject.handle_messages([line(2, sender=ME, key=EVE_KEY)])

    assert [c for c, _, _ in subject.view().conditions] == [Condition.DUPLICATE_DEVICE]


def test_a_flood_does_not_grow_the_directory() -> None:
    devices = [NodeId("bob", f"{n:032x}", f"d{n}") for n in range(MAX_DEVICES_PER_USER + 30)]
    subject = directory(*(line(n, sender=device) for n, device in enumerate(devices, 1)))
    subject.handle_messages(line(1000 + n, at=NOW + n) for n in range(500))

    assert len(list(subject.messages())) <= MAX_DEVICES_PER_USER + MAX_RECORDS
    assert subject.counters["too-many-devices"] >= 30


MESSAGES = st.lists(
    st.one_of(
        st.builds(
            line,
            st.integers(1, 40),
            st.sampled_from([ME, BOB, EVE]),
            st.sampled_from([MY_KEY, BOB_KEY, EVE_KEY]),
            at=st.floats(NOW, NOW + 2 * LEASE),
            ip=st.sampled_from([None, "100.64.7.5", "100.64.7.6"]),
        ),
        st.builds(legacy, st.integers(1, 40), st.sampled_from([BOB, EVE])),
        st.builds(leave, st.integers(1, 40), st.sampled_from([BOB, EVE])),
        st.builds(
            lambda id_, other: ChatMessage(id_, BOB, NOW, None, deletes=(other,)),
            st.integers(1, 40),
            st.integers(1, 40),
        ),
    ),
    max_size=20,
    unique_by=lambda message: message.id,
)


@given(MESSAGES, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(messages: list[ChatMessage], random: Random) -> None:
    shuffled = [*messages, *messages[:5]]
    random.shuffle(shuffled)

    assert directory(*shuffled).view() == directory(*messages).view()


@given(MESSAGES)
def test_the_cache_brings_back_the_same_directory(messages: list[ChatMessage]) -> None:
    subject = directory(*messages)
    restored = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)

    content = cache.dump(subject, "acme", peers_file_known=True)

    assert cache.restore(restored, content, "acme", SUBNET)
    # Who was just withdrawn has its half minute only with those that have heard it before.
    assert restored.view() == replace(subject.view(), withdrawn=frozenset())


@given(st.binary(max_size=100))
def test_a_damaged_cache_is_ignored(content: bytes) -> None:
    subject = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)

    assert not cache.restore(subject, content, "acme", SUBNET)
    assert cache.preferred_address(content) is None


def test_the_cache_of_another_team_is_ignored() -> None:
    content = cache.dump(directory(line(1)), "acme", peers_file_known=True)

    assert not cache.restore(directory(), content, "other", SUBNET)


def test_a_device_that_its_user_no_longer_has_is_gone() -> None:
    subject = directory(line(1))
    subject.handle_devices("bob", frozenset({BOB.device_id}), NOW)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}

    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + 40)

    assert announced(subject.view()) == {}
    assert list(subject.messages()) == [], "nor does the cache bring it back"


def test_a_new_device_may_be_unknown_for_as_long_as_keybase_caches_users() -> None:
    subject = directory(line(1))

    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + LONGEST_CACHE)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}

    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + LONGEST_CACHE + 1)
    assert announced(subject.view()) == {}


def test_no_devices_at_all_is_no_answer() -> None:
    subject = directory(line(1))
    subject.handle_devices("bob", frozenset({BOB.device_id}), NOW)

    subject.handle_devices("bob", frozenset(), NOW + 10_000)

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_another_users_devices_say_nothing() -> None:
    subject = directory(line(1))

    subject.handle_devices("carol", frozenset({"f" * 32}), NOW + 10_000)

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_a_team_that_is_too_old_to_be_believed_lets_nobody_in_until_it_is_read_again() -> None:
    subject = directory(line(1))

    subject.handle_staleness(True)
    assert subject.view().peers == ()

    subject.handle_staleness(False)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}
