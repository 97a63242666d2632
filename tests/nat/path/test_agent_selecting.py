"""Which valid pair a path agent selects, and how it loses it again."""

import pytest

from nat.candidate import CandidateType
from nat.path.credentials import Role
from nat.path.events import (
    Activity,
    LossReason,
    PathLost,
    PathSelected,
)
from nat.stun.message import parse
from tests.support.scripted import (
    BASE,
    LOCAL,
    PEER_HOST,
    PEER_MAPPED,
    REMOTE,
    ScriptedPeer,
)


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
