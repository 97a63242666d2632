"""One traversal for many peers: what is whose, and what is nobody's."""

from ipaddress import IPv4Network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.candidate import CandidateType, local_candidate
from nat.gathering import HostAddress
from nat.machine import Datagram
from nat.path.credentials import IceCredentials, Role
from nat.path.events import (
    Activity,
    LossReason,
    PathLost,
    PeerId,
)
from nat.stun.message import binding_indication
from nat.traversal import Traversal
from tests.support.crowd import lone_traversal
from tests.support.network import Host, endpoint
from tests.support.peers import (
    STUN_SERVER,
    A,
    B,
    Peers,
    credentials_of,
)
from tests.support.scripted import BASE, REMOTE, ScriptedPeer


def test_many_peers_share_one_port_and_do_not_mix() -> None:
    hub = Traversal(rng=Random(1), now=0.0)
    hub_at = endpoint("192.0.2.10")
    hub.set_host_addresses([HostAddress(hub_at, "eth0")], 0.0)
    peers = Peers()
    hub_host = Host(hub, hub_at)
    peers.network._hosts.clear()
    peers.network.add(hub_host)
    spokes = []
    for i in range(20):
        at = endpoint(f"192.0.2.{100 + i}")
        spoke = Traversal(rng=Random(100 + i), now=0.0)
        spoke.set_host_addresses([HostAddress(at, "eth0")], 0.0)
        mine, theirs = (f"hub-{i}", f"hub-{i}-password"), (f"spoke-{i}", f"spoke-{i}-password")
        name = PeerId(f"spoke-{i}")
        hub.add_peer(
            name, credentials=IceCredentials(*mine, *theirs), role=Role.CONTROLLING, now=0.0
        )
        spoke.add_peer(
            PeerId("hub"),
            credentials=IceCredentials(*theirs, *mine),
            role=Role.CONTROLLED,
            now=0.0,
        )
        hub.set_remote_candidates(name, spoke.local_candidates, 0.0)
        spoke.set_remote_candidates(PeerId("hub"), hub.local_candidates, 0.0)
        peers.network.add(Host(spoke, at))
        spokes.append((name, spoke, at))

    peers.run(until=3.0)

    for name, spoke, at in spokes:
        there, back = hub.report(name, 3.0).path, spoke.report(PeerId("hub"), 3.0).path
        assert there is not None
        assert back is not None
        assert there.remote.endpoint == at
        assert back.remote.endpoint == hub_at
    assert hub.counters == {}


def test_what_is_for_nobody_is_dropped_and_counted_by_reason() -> None:
    traversal = lone_traversal(refused=[IPv4Network("100.64.0.0/10")])
    check = ScriptedPeer().take()[0]
    answer = ScriptedPeer(Role.CONTROLLED).answer(check)
    for payload in (b"", b"\x00" * 20, b"\x04" * 64):
        traversal.receive_datagram(Datagram(STUN_SERVER, BASE, payload), 0.0)
    traversal.receive_datagram(Datagram(STUN_SERVER, BASE, check.payload), 0.0)
    traversal.receive_datagram(Datagram(STUN_SERVER, BASE, answer.payload), 0.0)
    traversal.receive_datagram(Datagram(STUN_SERVER, BASE, binding_indication(bytes(12))), 0.0)
    traversal.receive_datagram(Datagram(endpoint("100.64.0.7"), BASE, check.payload), 0.0)

    assert traversal.datagrams_to_send() == []
    assert traversal.counters == {
        "malformed": 3,
        "check of an unknown peer": 1,
        "answer to no request in flight": 2,
        "from a refused network": 1,
    }


def test_the_overlays_own_prefix_is_never_used() -> None:
    overlay = endpoint("100.64.0.7")
    traversal = lone_traversal(refused=[IPv4Network("100.64.0.0/10")])
    traversal.set_host_addresses([HostAddress(BASE, "eth0"), HostAddress(overlay, "kbwg0")], 0.0)
    traversal.add_peer(
        B, credentials=credentials_of(Role.CONTROLLING), role=Role.CONTROLLING, now=0.0
    )
    inside = local_candidate(CandidateType.HOST, overlay, overlay)

    traversal.set_remote_candidates(B, [inside], 0.0)

    assert traversal.datagrams_to_send() == []
    assert traversal.report(B, 0.0).activity is Activity.WAITING
    assert [c.endpoint for c in traversal.local_candidates] == [BASE]


def test_a_removed_peer_is_not_answered_and_its_path_is_lost() -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=10.0)

    peers.a.traversal.remove_peer(B, 10.0)
    peers.run(until=20.0)

    lost = peers.a.host.events_of(PathLost)
    assert [event.reason for event in lost] == [LossReason.PEER_GONE]
    assert peers.network.sent_by(peers.a.host, since=10.001) == [
        sent
        for sent in peers.network.sent_by(peers.a.host, since=10.001)
        if sent.datagram.destination == STUN_SERVER
    ]
    with pytest.raises(KeyError):
        peers.a.traversal.report(B, 20.0)


def test_a_peer_or_a_ufrag_is_added_once() -> None:
    traversal = lone_traversal()
    credentials = credentials_of(Role.CONTROLLING)
    traversal.add_peer(B, credentials=credentials, role=Role.CONTROLLING, now=0.0)

    with pytest.raises(ValueError, match="there already"):
        traversal.add_peer(B, credentials=credentials, role=Role.CONTROLLING, now=0.0)
    with pytest.raises(ValueError, match="there already"):
        traversal.add_peer(A, credentials=credentials, role=Role.CONTROLLING, now=0.0)


@given(st.lists(st.tuples(st.binary(max_size=120), st.integers(1, 3)), max_size=5))
@settings(max_examples=50)
def test_any_datagrams_from_anywhere_change_nothing(datagrams: list[tuple[bytes, int]]) -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=3.0)
    before = peers.a.report(3.0), peers.a.traversal.next_timeout()

    for payload, last in datagrams:
        source = endpoint(f"203.0.113.{last}", 3478)
        peers.a.traversal.receive_datagram(Datagram(source, BASE, payload), 3.0)

    assert (peers.a.report(3.0), peers.a.traversal.next_timeout()) == before
    assert peers.a.traversal.datagrams_to_send() == []


def test_the_candidates_of_a_peer_are_paired_as_soon_as_ours_are_known() -> None:
    traversal = Traversal(rng=Random(1), now=0.0)
    traversal.add_peer(
        B, credentials=credentials_of(Role.CONTROLLING), role=Role.CONTROLLING, now=0.0
    )
    traversal.set_remote_candidates(B, REMOTE, 0.0)
    assert traversal.datagrams_to_send() == []

    traversal.set_host_addresses([HostAddress(BASE, "eth0")], 1.0)

    assert [d.destination for d in traversal.datagrams_to_send()] == [
        candidate.endpoint for candidate in REMOTE
    ]
