"""When a path agent checks which pair; the peer is played by hand."""

from itertools import pairwise

import pytest

from nat.candidate import CandidateType, local_candidate
from nat.path.checklist import MAX_REMOTE_CANDIDATES
from nat.path.events import (
    Activity,
    PairState,
)
from nat.stun.message import MessageClass, parse
from tests.support.network import endpoint
from tests.support.scripted import (
    BASE,
    LOCAL,
    PEER_HOST,
    PEER_MAPPED,
    REMOTE,
    ScriptedPeer,
)


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

    assert [d.destination for d in peer.take(MessageClass.REQUEST)] == [PEER_MAPPED]
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

    assert peer.take(MessageClass.REQUEST) == []
    assert peer.agent.report(0.0).pairs == ()


def test_pairs_only_addresses_of_one_family() -> None:
    six = endpoint("2001:db8::2")
    peer = ScriptedPeer(remote=[local_candidate(CandidateType.HOST, six, six)])

    assert peer.take() == []
