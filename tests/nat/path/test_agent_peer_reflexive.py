"""Ends that nobody announced: peer-reflexive candidates (RFC 8445 §7.2.5.3.1, §7.3.1.3)."""

from nat.candidate import CandidateType
from nat.machine import Endpoint
from nat.path.checklist import MAX_REFLEXIVE_CANDIDATES
from nat.path.events import (
    PathSelected,
)
from nat.stun.message import MessageClass
from tests.support.scripted import (
    LOCAL,
    MAPPED,
    PEER_MAPPED,
    REMOTE,
    STRANGER,
    ScriptedPeer,
)

REFLEXIVE_PRIORITY = (110 << 24) + 777


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

    assert [d.destination for d in peer.take(MessageClass.REQUEST)] == [STRANGER]
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

    checked = {
        d.destination.port
        for d in peer.take(MessageClass.REQUEST)
        if d.destination.ip == STRANGER.ip
    }
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
