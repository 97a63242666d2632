"""The path agent, in the order of a pair's life; the peer is played by hand."""

import struct
from itertools import pairwise

import pytest
from aioice import stun as codec
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.candidate import CandidateType, local_candidate
from nat.machine import Datagram, Endpoint
from nat.path.checklist import MAX_REFLEXIVE_CANDIDATES, MAX_REMOTE_CANDIDATES
from nat.path.credentials import Role
from nat.path.events import (
    Activity,
    DataReport,
    EvidenceWanted,
    LossReason,
    PairState,
    PathLost,
    PathSelected,
)
from nat.stun.message import MAGIC_COOKIE, MessageClass, parse
from tests.support.network import endpoint
from tests.support.peers import credentials_of
from tests.support.scripted import (
    BASE,
    LOCAL,
    MAPPED,
    PEER_HOST,
    PEER_MAPPED,
    REMOTE,
    STRANGER,
    ScriptedPeer,
)

REQUEST, SUCCESS, ERROR = MessageClass.REQUEST, MessageClass.SUCCESS, MessageClass.ERROR
BOTH_ROLES = pytest.mark.parametrize("role", list(Role))

REFLEXIVE_PRIORITY = (110 << 24) + 777


# Checking ------------------------------------------------------------------------------------


def test_waits_until_both_sides_have_candidates() -> None:
    peer = ScriptedPeer(remote=())

    assert peer.agent.report(0.0).activity is Activity.WAITING
    assert peer.agent.next_timeout() is None
    assert peer.take() == []


def test_checks_every_pair_at_once_best_first() -> None:
    peer = ScriptedPeer()

    checks = peer.take()

    assert [(d.source, d.destination) for d in checks] == [(BASE, PEER_HOST), (BASE, PEER_MAPPED)]
    assert peer.agent.report(0.0).activity is Activity.CHECKING


def test_a_check_has_what_rfc_8445_section_7_2_2_wants() -> None:
    peer = ScriptedPeer()

    message = parse(peer.take()[0].payload)

    assert message.username == "ufrag-b:ufrag-a"
    assert message.is_authentic("password-of-b" * 2)
    assert message.priority == (110 << 24) + (65535 << 8) + 255
    assert message.controlling == 2**64 - 1
    assert message.has_fingerprint
    assert not message.use_candidate


def test_checks_densely_at_first_and_then_ever_more_rarely() -> None:
    peer = ScriptedPeer()
    peer.take()

    times = [at for at, d in peer.run(until=30.0) if d.destination == PEER_HOST]

    assert times[:6] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
    assert len(times) == 10
    assert all(after - before >= 1.3 for before, after in pairwise(times[5:]))


def test_never_gives_up_and_never_waits_longer_than_30_seconds() -> None:
    peer = ScriptedPeer()
    peer.take()

    times = [at for at, d in peer.run(until=7200.0) if d.destination == PEER_MAPPED]

    assert max(after - before for before, after in pairwise(times)) < 30.0
    assert 7200.0 - times[-1] < 30.0
    assert peer.agent.report(7200.0).pairs[1].state is PairState.FAILED


def test_the_same_announcement_again_has_everything_checked_at_once() -> None:
    peer = ScriptedPeer()
    peer.run(until=100.0)

    peer.agent.set_remote_candidates(REMOTE, 100.0)

    assert [d.destination for d in peer.take()] == [PEER_HOST, PEER_MAPPED]
    assert [at for at, d in peer.run(101.0) if d.destination == PEER_HOST] == pytest.approx(
        [100.05, 100.1, 100.2, 100.4, 100.8]
    )


def test_a_change_of_our_own_candidates_has_everything_checked_at_once() -> None:
    peer = ScriptedPeer()
    peer.run(until=100.0)

    peer.agent.set_local_candidates(LOCAL, 100.0)
    assert peer.take() == []

    peer.agent.set_local_candidates(LOCAL[:1], 100.0)
    assert [d.destination for d in peer.take()] == [PEER_HOST, PEER_MAPPED]


def test_an_authentic_check_has_its_pair_checked_at_once_while_nothing_is_connected() -> None:
    peer = ScriptedPeer()
    peer.run(until=100.0)

    peer.agent.receive_datagram(peer.check(), 100.0)

    assert [d.destination for d in peer.take(REQUEST)] == [PEER_MAPPED]
    assert [at for at, d in peer.run(101.0) if d.destination == PEER_MAPPED] == pytest.approx(
        [100.05, 100.1, 100.2, 100.4, 100.8]
    )


def test_calling_early_or_twice_is_harmless() -> None:
    peer = ScriptedPeer()
    peer.take()

    peer.agent.handle_timeout(0.01)
    assert peer.take() == []
    peer.agent.handle_timeout(0.05)
    peer.agent.handle_timeout(0.05)
    assert len(peer.take()) == 2


def test_only_so_many_announced_candidates_are_tried_the_best_ones() -> None:
    many = [
        local_candidate(CandidateType.HOST, e, e, local_preference=i)
        for i, e in enumerate(endpoint("192.168.9.1", port) for port in range(1000, 1100))
    ]
    peer = ScriptedPeer(remote=many)

    ports = [d.destination.port for d in peer.take()]

    assert ports == list(range(1099, 1099 - MAX_REMOTE_CANDIDATES, -1))


@pytest.mark.parametrize("ip", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::1"])
def test_never_checks_an_address_that_cannot_be_a_peers(ip: str) -> None:
    target = endpoint(ip)
    peer = ScriptedPeer(remote=[local_candidate(CandidateType.HOST, target, target)])

    peer.agent.receive_datagram(peer.check(source=target), 0.0)

    assert peer.take(REQUEST) == []
    assert peer.agent.report(0.0).pairs == ()


def test_pairs_only_addresses_of_one_family() -> None:
    six = endpoint("2001:db8::2")
    peer = ScriptedPeer(remote=[local_candidate(CandidateType.HOST, six, six)])

    assert peer.take() == []


# Valid pairs ---------------------------------------------------------------------------------


def test_the_first_pair_that_answers_is_selected_by_the_controlling_side() -> None:
    peer = ScriptedPeer()

    peer.validate(PEER_MAPPED, rtt=0.03)

    event = peer.agent.next_event()
    assert isinstance(event, PathSelected)
    assert event.previous is None
    assert event.path.base == BASE
    assert event.path.local == LOCAL[1]
    assert event.path.remote == REMOTE[1]
    assert event.path.kind is CandidateType.SERVER_REFLEXIVE
    report = peer.agent.report(0.03)
    assert report.activity is Activity.CONNECTED
    assert report.rtt == pytest.approx(0.03)
    assert report.path == event.path


def test_selection_is_told_by_a_numbered_nomination() -> None:
    peer = ScriptedPeer()

    peer.validate(PEER_MAPPED)

    (check,) = peer.checks_of(PEER_MAPPED)
    message = parse(check.payload)
    assert (message.use_candidate, message.nomination) == (True, 1)


def test_the_controlled_side_selects_what_is_nominated_once_it_is_valid() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    peer.validate(PEER_HOST)
    peer.take()

    peer.agent.receive_datagram(peer.check(nomination=1), 0.1)
    assert peer.agent.next_event() is None

    (check,) = peer.checks_of(PEER_MAPPED)
    peer.agent.receive_datagram(peer.answer(check), 0.2)
    event = peer.agent.next_event()
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == PEER_MAPPED


def test_the_controlled_side_takes_its_own_best_after_a_second_without_a_nomination() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    peer.validate(PEER_MAPPED)

    peer.run(until=0.99, answering=[PEER_MAPPED])
    assert peer.agent.next_event() is None

    peer.run(until=1.0, answering=[PEER_MAPPED])
    assert isinstance(peer.agent.next_event(), PathSelected)


def test_a_mapped_address_that_is_no_candidate_makes_a_peer_reflexive_end() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)

    other = Endpoint(MAPPED.ip, 42001)
    peer.agent.receive_datagram(peer.answer(request, mapped=other), 0.1)

    path = peer.agent.report(0.1).path
    assert path is not None
    assert (path.local.type, path.local.endpoint) == (CandidateType.PEER_REFLEXIVE, other)
    assert path.kind is CandidateType.PEER_REFLEXIVE


def test_an_end_that_becomes_known_later_is_told_as_what_it_is() -> None:
    peer = ScriptedPeer(remote=REMOTE[:1], local=LOCAL[:1])
    peer.take()
    peer.agent.receive_datagram(peer.check(source=PEER_MAPPED), 0.0)
    (request,) = peer.checks_of(PEER_MAPPED)
    peer.agent.receive_datagram(peer.answer(request), 0.1)
    first = peer.agent.next_event()
    assert isinstance(first, PathSelected)
    assert first.path.remote.type is CandidateType.PEER_REFLEXIVE
    assert first.path.local.type is CandidateType.PEER_REFLEXIVE

    peer.agent.set_remote_candidates(REMOTE, 0.2)
    second = peer.agent.next_event()
    assert isinstance(second, PathSelected)
    assert (second.path.remote, second.previous) == (REMOTE[1], first.path)

    peer.agent.set_local_candidates(LOCAL, 0.3)
    third = peer.agent.next_event()
    assert isinstance(third, PathSelected)
    assert third.path.local == LOCAL[1]


def test_learns_a_peer_reflexive_candidate_from_an_authentic_check() -> None:
    peer = ScriptedPeer()
    peer.take()

    peer.agent.receive_datagram(peer.check(source=STRANGER, priority=REFLEXIVE_PRIORITY), 0.0)

    assert [d.destination for d in peer.take(REQUEST)] == [STRANGER]
    learned = [pair.remote for pair in peer.agent.report(0.0).pairs if pair.remote not in REMOTE]
    assert [(c.type, c.endpoint, c.priority) for c in learned] == [
        (CandidateType.PEER_REFLEXIVE, STRANGER, REFLEXIVE_PRIORITY)
    ]


def test_keeps_a_few_peer_reflexive_candidates_the_oldest_goes_first() -> None:
    peer = ScriptedPeer()

    for i in range(10):
        source = Endpoint(STRANGER.ip, 7000 + i)
        peer.agent.receive_datagram(peer.check(source=source), 11.0 * i)

    ports = sorted(
        pair.remote.endpoint.port
        for pair in peer.agent.report(110.0).pairs
        if pair.remote.type is CandidateType.PEER_REFLEXIVE
    )
    assert len(ports) == MAX_REFLEXIVE_CANDIDATES
    assert ports == [7006, 7007, 7008, 7009]


def test_learns_only_so_many_peer_reflexive_candidates_at_a_time() -> None:
    peer = ScriptedPeer()
    peer.take()

    for i in range(400):
        source = Endpoint(STRANGER.ip, 7000 + i)
        peer.agent.receive_datagram(peer.check(source=source), i / 10)

    checked = {d.destination.port for d in peer.take(REQUEST) if d.destination.ip == STRANGER.ip}
    assert checked == {7000, 7001, 7002, 7003}


def test_strangers_never_push_out_the_pair_in_use() -> None:
    peer = ScriptedPeer(remote=())
    peer.agent.receive_datagram(peer.check(source=STRANGER), 0.0)
    for request in peer.checks_of(STRANGER):
        peer.agent.receive_datagram(peer.answer(request), 0.0)

    for i in range(10):
        source = Endpoint(STRANGER.ip, 7000 + i)
        peer.agent.receive_datagram(peer.check(source=source), 0.1 + i / 100)

    path = peer.agent.report(1.0).path
    assert path is not None
    assert path.remote.endpoint == STRANGER


def test_a_peer_reflexive_candidate_without_a_sign_of_life_is_forgotten() -> None:
    peer = ScriptedPeer()
    peer.agent.receive_datagram(peer.check(source=STRANGER), 0.0)

    peer.run(until=200.0)

    assert [pair.remote for pair in peer.agent.report(200.0).pairs] == list(REMOTE)


def test_a_candidate_that_is_no_longer_announced_is_not_tried_any_more() -> None:
    peer = ScriptedPeer()

    peer.agent.set_remote_candidates(REMOTE[1:], 1.0)

    assert [pair.remote for pair in peer.agent.report(1.0).pairs] == [REMOTE[1]]


def test_a_pair_that_works_outlives_its_announcement() -> None:
    peer = ScriptedPeer()
    peer.validate(PEER_MAPPED)

    peer.agent.set_remote_candidates(REMOTE[:1], 1.0)

    path = peer.agent.report(1.0).path
    assert path is not None
    assert path.remote == REMOTE[1]


# Loss ----------------------------------------------------------------------------------------


def test_a_selected_pair_that_does_not_answer_is_lost_within_0_6_seconds() -> None:
    peer = ScriptedPeer(remote=REMOTE[1:])
    peer.run(until=90.0, answering=[PEER_MAPPED])
    assert isinstance(peer.agent.next_event(), PathSelected)

    peer.agent.network_changed(100.0)
    peer.take()
    sent = peer.run(until=100.59)
    assert peer.agent.next_event() is None
    assert [at for at, _ in sent] == pytest.approx([100.15, 100.3, 100.45])

    peer.run(until=100.61)
    event = peer.agent.next_event()
    assert isinstance(event, PathLost)
    assert event.reason is LossReason.CHECKS_UNANSWERED
    assert peer.agent.report(100.6).activity is Activity.LOST
    assert peer.agent.report(100.6).path is None


def test_a_lost_pair_is_hunted_from_the_start() -> None:
    peer = ScriptedPeer(remote=REMOTE[1:])
    peer.run(until=90.0, answering=[PEER_MAPPED])
    peer.agent.network_changed(100.0)

    sent = [at for at, _ in peer.run(until=102.3) if at > 100.5]

    assert sent == pytest.approx([100.6, 100.65, 100.7, 100.8, 101.0, 101.4, 102.2])


def test_a_pair_whose_local_address_is_gone_is_lost_at_once() -> None:
    peer = ScriptedPeer()
    peer.validate(PEER_MAPPED)
    peer.agent.next_event()

    peer.agent.set_local_candidates((), 5.0)

    event = peer.agent.next_event()
    assert isinstance(event, PathLost)
    assert event.reason is LossReason.ADDRESS_GONE
    assert peer.agent.report(5.0).activity is Activity.WAITING


def test_a_slow_pair_is_not_a_dead_one() -> None:
    peer = ScriptedPeer(remote=REMOTE[1:])

    peer.run(until=300.0, answering=[PEER_MAPPED], rtt=1.5)

    assert isinstance(peer.agent.next_event(), PathSelected)
    assert peer.agent.next_event() is None
    assert peer.agent.report(300.0).rtt == pytest.approx(1.5)


# What is not authentic changes nothing -----------------------------------------------------


def forged(peer: ScriptedPeer, what: str) -> Datagram:
    """Datagrams of somebody who knows everything but the passwords, or replays what he saw."""
    request = peer.take(REQUEST)[-1]
    ours = credentials_of(peer.role)
    match what:
        case "check with another password":
            return peer.check(password="password-of-mallory", nomination=99)
        case "check with swapped credentials":
            return peer.check(password=ours.remote_password, nomination=99)
        case "check from a stranger with another password":
            return peer.check(source=STRANGER, password="guess", use_candidate=True)
        case "check for another pair of agents":
            return peer.check(username="ufrag-a:ufrag-m")
        case "check with our own name twice":
            return peer.check(username="ufrag-a:ufrag-a")
        case "our own check, sent back":
            return Datagram(request.destination, request.source, request.payload)
        case "answer with another password":
            return peer.answer(request, password="guess")
        case "answer with our own password":
            return peer.answer(request, password=ours.local_password)
        case "answer from another address":
            return peer.answer(request, source=STRANGER)
        case "answer to another address of ours":
            return peer.answer(request, base=endpoint("192.168.1.99"))
        case "answer to nothing":
            other = ScriptedPeer(seed=77).take(REQUEST)[0]
            return peer.answer(other)
        case _:
            raise AssertionError(what)


FORGERIES = [
    "check with another password",
    "check with swapped credentials",
    "check from a stranger with another password",
    "check for another pair of agents",
    "check with our own name twice",
    "our own check, sent back",
    "answer with another password",
    "answer with our own password",
    "answer from another address",
    "answer to another address of ours",
    "answer to nothing",
]


@BOTH_ROLES
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_changes_nothing_and_is_not_answered(
    what: str, connected: bool, role: Role
) -> None:
    peer = ScriptedPeer(role)
    if connected:
        peer.validate(PEER_MAPPED)
        peer.agent.receive_datagram(peer.check(nomination=1), 0.0)
        peer.agent.network_changed(0.5)
    datagram = forged(peer, what)
    before = peer.state()

    peer.agent.receive_datagram(datagram, 0.6)

    assert peer.agent.ignored.total() == 1
    assert peer.state() == before
    assert peer.take() == []


def test_a_check_without_fingerprint_changes_nothing() -> None:
    peer = ScriptedPeer()
    peer.take()
    check = peer.check()
    bare = check.payload[:-8]
    bare = bare[:2] + struct.pack("!H", len(bare) - 20) + bare[4:]
    before = peer.state()

    peer.agent.receive_datagram(Datagram(check.source, check.destination, bare), 0.0)

    assert peer.state() == before
    assert peer.take() == []


def test_a_use_candidate_that_is_not_protected_is_not_seen() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    peer.validate(PEER_MAPPED)
    check = peer.check()
    body = check.payload[20:-8] + struct.pack("!HH", 0x0025, 0)
    payload = struct.pack("!HH", 0x0001, len(body)) + check.payload[4:20] + body
    forged_check = Datagram(check.source, check.destination, payload)

    peer.agent.receive_datagram(forged_check, 0.1)

    assert peer.agent.next_event() is None


@given(payload=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: stun_header(b) + b))
@settings(max_examples=200)
def test_any_bytes_change_nothing(payload: bytes) -> None:
    peer = ScriptedPeer()
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(Datagram(PEER_MAPPED, BASE, payload), 0.01)

    assert peer.state() == before
    assert peer.take() == []


def stun_header(body: bytes) -> bytes:
    return struct.pack("!HH", 0x0001, len(body)) + MAGIC_COOKIE + bytes(12)


@BOTH_ROLES
@given(data=st.data())
@settings(max_examples=100)
def test_a_check_or_answer_with_a_changed_byte_changes_nothing(
    role: Role, data: st.DataObject
) -> None:
    peer = ScriptedPeer(role)
    request = peer.take(REQUEST)[0]
    datagram = data.draw(
        st.sampled_from([peer.check(nomination=3), peer.check(), peer.answer(request)])
    )
    # An answer need not have a FINGERPRINT: its last eight bytes protect nothing that counts.
    protected = len(datagram.payload) - (8 if datagram.payload[0] == 0x01 else 0)
    position = data.draw(st.integers(0, protected - 1))
    payload = bytearray(datagram.payload)
    payload[position] ^= data.draw(st.integers(1, 255))
    before = peer.state()

    peer.agent.receive_datagram(
        Datagram(datagram.source, datagram.destination, bytes(payload)), 0.01
    )

    assert peer.state() == before
    assert peer.take() == []


@BOTH_ROLES
def test_a_duplicate_check_is_answered_and_changes_nothing_else(role: Role) -> None:
    peer = ScriptedPeer(role)
    check = peer.check(nomination=4)
    peer.agent.receive_datagram(check, 0.0)
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(check, 0.01)

    assert peer.state() != before  # the answer waits to be sent, and that is all
    assert [parse(d.payload).message_class for d in peer.take()] == [SUCCESS]
    assert peer.state() == before


def test_a_replayed_nomination_from_elsewhere_makes_no_candidate() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    check = peer.check(nomination=4)
    peer.agent.receive_datagram(check, 0.0)
    peer.take()

    peer.agent.receive_datagram(Datagram(STRANGER, BASE, check.payload), 0.01)

    assert [d.destination for d in peer.take()] == [STRANGER]
    assert len(peer.agent.report(0.01).pairs) == 2


def test_a_duplicate_answer_changes_nothing() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)
    answer = peer.answer(request)
    peer.agent.receive_datagram(answer, 0.1)
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(answer, 0.2)

    assert peer.state() == before


def test_an_answer_that_is_minutes_late_is_not_believed() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)

    peer.agent.receive_datagram(peer.answer(request), 60.0)

    assert peer.agent.report(60.0).path is None


# Foreign agents ------------------------------------------------------------------------------


@BOTH_ROLES
@pytest.mark.parametrize("tie_breaker", [0, 1, 2**63, 2**64 - 1])
def test_a_role_conflict_is_answered_with_487_and_roles_never_switch(
    role: Role, tie_breaker: int
) -> None:
    peer = ScriptedPeer(role)
    peer.take()
    before = peer.state()

    conflicting = peer.check(controlling=role is Role.CONTROLLING, tie_breaker=tie_breaker)
    peer.agent.receive_datagram(conflicting, 0.01)

    (answer,) = peer.take()
    message = parse(answer.payload)
    assert (message.message_class, message.error_code) == (ERROR, 487)
    assert message.is_authentic(
        "password-of-a" * 2 if role is Role.CONTROLLING else "password-of-b" * 2
    )
    assert (answer.source, answer.destination) == (BASE, PEER_MAPPED)
    assert peer.state() == before


def test_an_error_answers_a_check_but_makes_nothing_valid() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)
    conflict = ScriptedPeer(Role.CONTROLLED)
    conflict.take()
    refused = Datagram(PEER_MAPPED, BASE, request.payload)
    conflict.agent.receive_datagram(refused, 0.0)
    assert conflict.take(ERROR) == []

    assert peer.agent.report(0.0).path is None


@pytest.mark.parametrize(
    ("drop", "error"), [(0x0024, 400), (0x8029, 400)], ids=["PRIORITY", "role"]
)
def test_an_authentic_check_that_lacks_an_attribute_is_answered_with_400(
    drop: int, error: int
) -> None:
    peer = ScriptedPeer()
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(resigned(peer.check(), drop=drop), 0.0)

    (answer,) = peer.take()
    assert parse(answer.payload).error_code == error
    assert peer.state() == before


def test_an_unknown_required_attribute_is_answered_with_420_that_names_it() -> None:
    peer = ScriptedPeer()
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(resigned(peer.check(), add=(0x7777, b"what?")), 0.0)

    (answer,) = peer.take()
    assert parse(answer.payload).error_code == 420
    assert struct.pack("!HHH", 0x000A, 2, 0x7777) in answer.payload
    assert peer.state() == before


def test_without_numbers_the_highest_nominated_pair_wins() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    for remote in (PEER_MAPPED, PEER_HOST):
        peer.validate(remote)

    peer.agent.receive_datagram(peer.check(PEER_HOST, use_candidate=True), 0.1)
    peer.agent.receive_datagram(peer.check(PEER_MAPPED, use_candidate=True), 0.2)

    path = peer.agent.report(0.2).path
    assert path is not None
    assert path.remote.endpoint == PEER_HOST


def test_once_a_number_was_seen_plain_nominations_do_not_count() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    for remote in (PEER_MAPPED, PEER_HOST):
        peer.validate(remote)

    peer.agent.receive_datagram(peer.check(PEER_MAPPED, nomination=1), 0.1)
    peer.agent.receive_datagram(peer.check(PEER_HOST, use_candidate=True), 0.2)

    path = peer.agent.report(0.2).path
    assert path is not None
    assert path.remote.endpoint == PEER_MAPPED


# Renomination --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "followed"),
    [
        ([(PEER_HOST, 1), (PEER_MAPPED, 2)], PEER_MAPPED),
        ([(PEER_MAPPED, 2), (PEER_HOST, 1)], PEER_MAPPED),
        ([(PEER_MAPPED, 2), (PEER_MAPPED, 2), (PEER_HOST, 1), (PEER_HOST, 1)], PEER_MAPPED),
        ([(PEER_HOST, 5), (PEER_MAPPED, 4), (PEER_HOST, 3), (PEER_MAPPED, 6)], PEER_MAPPED),
        ([(PEER_HOST, 2**24 - 1), (PEER_MAPPED, 1)], PEER_HOST),
    ],
    ids=["in order", "late", "duplicated", "reordered", "highest possible"],
)
def test_the_highest_nomination_wins_in_whatever_order_they_arrive(
    order: list[tuple[Endpoint, int]], followed: Endpoint
) -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    for remote in (PEER_MAPPED, PEER_HOST):
        peer.validate(remote)

    for i, (remote, number) in enumerate(order):
        peer.agent.receive_datagram(peer.check(remote, nomination=number), 0.1 + i / 100)

    path = peer.agent.report(1.0).path
    assert path is not None
    assert path.remote.endpoint == followed


def test_answers_tell_the_nomination_that_is_followed() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    peer.take()

    peer.agent.receive_datagram(peer.check(nomination=7), 0.0)
    peer.agent.receive_datagram(peer.check(PEER_HOST, nomination=5), 0.0)

    assert [parse(d.payload).nomination for d in peer.take(SUCCESS)] == [7, 7]


def test_a_restarted_controlling_side_continues_above_what_the_peer_has_seen() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)
    peer.agent.receive_datagram(peer.answer(request), 0.0)
    (nominating,) = peer.checks_of(PEER_MAPPED)
    assert parse(nominating.payload).nomination == 1

    peer.agent.receive_datagram(peer.answer(nominating, nomination=41), 0.1)

    (renominating,) = peer.checks_of(PEER_MAPPED)
    assert parse(renominating.payload).nomination == 42


def resigned(
    check: Datagram, *, drop: int | None = None, add: tuple[int, bytes] | None = None
) -> Datagram:
    """A check of the peer with other attributes, properly signed."""
    source = check.payload
    position, body = 20, b""
    while position < len(source):
        kind, size = struct.unpack_from("!HH", source, position)
        end = position + 4 + size + codec.padding_length(size)
        if kind not in (drop, 0x0008, 0x8028):
            body += source[position:end]
        position = end
    if add is not None:
        body += struct.pack("!HH", add[0], len(add[1])) + add[1] + bytes(-len(add[1]) % 4)
    message = struct.pack("!HH", 0x0001, len(body)) + source[4:20] + body
    digest = codec.message_integrity(message, b"password-of-a" * 2)
    message += struct.pack("!HH", 0x0008, 20) + digest
    message += struct.pack("!HHI", 0x8028, 4, codec.message_fingerprint(message))
    return Datagram(
        check.source, check.destination, codec.set_body_length(message, len(message) - 20)
    )


# A far agent that comes back -------------------------------------------------------------------


def silent_agent() -> ScriptedPeer:
    """Two pairs were valid and `PEER_HOST` was selected; since 101.1 s only data spoke for it."""
    peer = ScriptedPeer()
    peer.run(until=90.0, answering=[PEER_HOST, PEER_MAPPED])
    for second, received in ((98.0, 0), (99.0, 1000), (100.0, 2000)):
        peer.agent.report_data(DataReport(PEER_HOST, received, received, 5.0), second)
    while peer.agent.next_event():
        pass
    peer.agent.network_changed(100.5)
    peer.run(until=110.0)
    assert peer.agent.report(110.0).activity is Activity.SILENT
    assert looks(peer) > 0, "the data is asked before the pair is given up"
    peer.agent.network_changed(110.0)
    return peer


def next_choice(peer: ScriptedPeer) -> object:
    """Take the next event that is more than a wish to look at the data."""
    while isinstance(event := peer.agent.next_event(), EvidenceWanted):
        pass
    return event


def looks(peer: ScriptedPeer) -> int:
    """Take the events, which ask for nothing but looks at the data; return how many."""
    events = []
    while (event := peer.agent.next_event()) is not None:
        events.append(event)
    assert all(isinstance(event, EvidenceWanted) for event in events), events
    return len(events)


@pytest.mark.parametrize("sign", ["answer", "check"])
def test_the_first_sign_of_life_on_another_pair_gives_the_selected_one_a_fair_chance(
    sign: str,
) -> None:
    peer = silent_agent()
    requests = peer.take(REQUEST)
    (other,) = [request for request in requests if request.destination == PEER_MAPPED]

    life = peer.answer(other) if sign == "answer" else peer.check(PEER_MAPPED)
    peer.agent.receive_datagram(life, 110.1)

    assert looks(peer) == 0
    asked = [d.destination for d in peer.take(REQUEST)]
    assert PEER_HOST in asked
    peer.run(until=115.0, answering=[PEER_HOST, PEER_MAPPED])
    looks(peer)
    assert peer.agent.report(115.0).activity is Activity.CONNECTED


def test_a_selected_pair_that_fails_its_fair_chance_is_left() -> None:
    peer = silent_agent()

    peer.run(until=115.0, answering=[PEER_MAPPED])

    event = next_choice(peer)
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == PEER_MAPPED


def test_after_data_has_moved_the_old_pair_must_prove_itself_again() -> None:
    peer = ScriptedPeer()
    peer.run(until=90.0, answering=[PEER_HOST])
    for second, sends_to in ((98.0, PEER_HOST), (99.0, STRANGER)):
        peer.agent.report_data(DataReport(sends_to, int(second), 0, 5.0), second)
    while peer.agent.next_event():
        pass

    peer.run(until=99.2, answering=[STRANGER, PEER_HOST], rtt=0.02)

    event = peer.agent.next_event()
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == STRANGER
    assert peer.agent.next_event() is None
    # It does, and is of the better kind, so it is taken back; a dead one would not be.
    peer.run(until=105.0, answering=[STRANGER, PEER_HOST], rtt=0.02)
    event = peer.agent.next_event()
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == PEER_HOST


def test_data_that_goes_elsewhere_vetoes_nothing() -> None:
    peer = ScriptedPeer()
    peer.run(until=90.0, answering=[PEER_HOST, PEER_MAPPED])

    for second in range(90, 120):
        peer.agent.report_data(DataReport(STRANGER, 0, 1000 * second, None), float(second))
        peer.run(until=second + 0.9, answering=[PEER_HOST, PEER_MAPPED])

    states = {pair.remote.endpoint: pair.state for pair in peer.agent.report(120.0).pairs}
    assert states[PEER_HOST] is states[PEER_MAPPED] is PairState.VALID
