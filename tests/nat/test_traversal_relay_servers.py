"""TURN servers that die, restart, are further away or not named any more."""

from ipaddress import ip_address

from nat.machine import Datagram
from nat.path.events import LossReason, PathLost
from nat.stun.attributes import Attribute
from nat.stun.wire import Method
from nat.turn.events import Trouble, TurnServerChanged
from nat.turn.message import TurnError
from tests.support.peers import MEETING
from tests.support.relayed_peers import (
    FAR,
    LATENCY,
    NEAR,
    RELAY,
    TCP,
    TLS,
    TRAFFIC,
    UDP,
    block_udp,
    both,
    kinds,
    relayed_peers,
)
from tests.support.relays import turn_server
from tests.support.traffic import longest_gap, send_data


def by_distance(datagram: Datagram) -> float:
    far = FAR in (str(datagram.source.ip), str(datagram.destination.ip))
    return 0.08 if far else LATENCY


def test_the_nearest_server_carries_the_data_and_another_stands_by() -> None:
    subject = relayed_peers(
        "symmetric", "port-restricted", a_turn=(turn_server(FAR), UDP), latency=by_distance
    )
    send_data(subject, TRAFFIC, MEETING)

    subject.run(MEETING + 10.0)

    path_a, _ = both(subject)
    assert str(path_a.base.ip) == NEAR
    relayed = [str(c.endpoint.ip) for c in subject.a.candidates if c.type is RELAY]
    assert relayed == [NEAR, FAR]


def test_a_server_that_dies_is_replaced_by_the_one_that_stands_by() -> None:
    subject = relayed_peers(
        "symmetric", "port-restricted", a_turn=(UDP, turn_server(FAR)), latency=by_distance
    )
    send_data(subject, TRAFFIC, MEETING)
    subject.run(MEETING + 20.0)

    died = subject.network.now
    subject.turn[NEAR].dead = True
    subject.run(died + 60.0)

    path_a, _ = both(subject)
    assert str(path_a.base.ip) == FAR
    for node in (subject.a, subject.b):
        assert longest_gap(node, died, died + 60.0) <= 3.0
        assert node.host.events_of(PathLost) == []
    changes = [event.trouble for event in subject.a.host.events_of(TurnServerChanged)]
    assert changes == [None, None, Trouble.UNREACHABLE]


def test_the_only_server_dies_and_comes_back() -> None:
    subject = relayed_peers("symmetric", "port-restricted")
    send_data(subject, TRAFFIC, MEETING)
    subject.run(MEETING + 20.0)
    subject.turn[NEAR].dead = True
    subject.run(100.0)
    assert kinds(subject) == [None, None]
    assert [event.reason for event in subject.a.host.events_of(PathLost)]

    subject.turn[NEAR].dead = False
    back = subject.network.now
    subject.run(back + 75.0)
    subject.introduce(subject.b, subject.a)
    subject.run(back + 77.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert subject.b.wireguard.received[-1][0] > back + 76.0


def test_a_server_that_restarts_costs_a_moment() -> None:
    subject = relayed_peers("symmetric", "port-restricted")
    send_data(subject, TRAFFIC, MEETING)
    subject.run(MEETING + 20.0)

    subject.turn[NEAR].server.restart()
    subject.run(MEETING + 320.0)
    # The new relayed address is announced.
    subject.introduce(subject.b, subject.a)
    subject.run(MEETING + 322.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert len(subject.turn[NEAR].server.allocations) == 1


def test_udp_is_preferred_to_tcp_and_tcp_to_tls() -> None:
    subject = relayed_peers("symmetric", "open", a_turn=(TLS, TCP, UDP))

    subject.run(MEETING + 3.0)

    assert subject.a.links.connected == [UDP]
    assert set(subject.a.links.requested) == {TLS, TCP, UDP}
    assert len(subject.turn[NEAR].server.allocations) == 1


def test_tcp_takes_over_when_udp_dies_and_gives_back_when_it_lives() -> None:
    subject = relayed_peers("symmetric", "port-restricted", a_turn=(TCP, UDP))
    send_data(subject, TRAFFIC, MEETING)
    subject.run(MEETING + 20.0)
    lift = block_udp(subject, subject.a)

    subject.run(MEETING + 90.0)
    assert subject.a.links.connected == [TCP]
    subject.introduce(subject.b, subject.a)
    subject.run(MEETING + 92.0)
    assert kinds(subject) == [RELAY, RELAY]

    lift()
    subject.run(MEETING + 800.0)
    assert subject.a.links.connected == [UDP]


def test_servers_that_are_not_named_any_more_are_released() -> None:
    subject = relayed_peers("symmetric", "port-restricted")
    subject.run(MEETING + 3.0)

    subject.a.traversal.set_turn_servers((), subject.network.now)
    subject.run(MEETING + 4.0)

    assert subject.turn[NEAR].server.allocations == {}
    assert subject.a.links.connected == []
    assert all(c.type is not RELAY for c in subject.a.candidates)
    (event,) = subject.a.host.events_of(PathLost)
    assert event.reason is LossReason.ADDRESS_GONE


def test_one_allocation_serves_all_peers_and_channels_are_let_go_with_them() -> None:
    subject = relayed_peers("symmetric", "port-restricted")
    subject.run(MEETING + 3.0)
    (allocation,) = subject.turn[NEAR].server.allocations.values()
    assert len(allocation.channels) == 1
    assert len(subject.a.links.plugs) == 1

    subject.a.traversal.remove_peer(subject.a.other, subject.network.now)
    subject.run(MEETING + 700.0)

    (allocation,) = subject.turn[NEAR].server.allocations.values()
    assert allocation.channels == {}
    assert allocation.permissions == {}
    assert subject.a.links.plugs == {}


def test_a_server_that_we_were_sent_to_and_that_is_named_as_well_goes_on() -> None:
    peers = relayed_peers("symmetric", "port-restricted")
    # ALTERNATE-SERVER has the form of MAPPED-ADDRESS: IPv4, port, address.
    there = bytes((0, 1)) + (3478).to_bytes(2, "big") + ip_address(FAR).packed
    peers.turn[NEAR].server.fail(
        Method.ALLOCATE,
        TurnError.TRY_ALTERNATE,
        values=[(Attribute.ALTERNATE_SERVER, there)],
        before_authentication=True,
    )
    send_data(peers, TRAFFIC, MEETING)
    peers.run(MEETING + 5.0)
    assert [str(path.local.endpoint.ip) for path in both(peers)[:1]] == [FAR]

    peers.a.traversal.set_turn_servers((UDP, turn_server(FAR)), peers.network.now)
    peers.run(MEETING + 10.0)
    peers.a.traversal.set_turn_servers((turn_server(FAR),), peers.network.now)
    peers.run(MEETING + 15.0)

    assert peers.a.links.requested == [UDP, turn_server(FAR)]
    assert kinds(peers) == [RELAY, RELAY]
    for node in (peers.a, peers.b):
        assert node.host.events_of(PathLost) == []
        assert longest_gap(node, MEETING + 5.0, MEETING + 15.0) <= 5 * TRAFFIC
