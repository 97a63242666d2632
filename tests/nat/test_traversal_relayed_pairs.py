"""Which pairs of hosts a TURN server joins, how soon, and what that costs."""

import pytest

from nat.machine import Datagram
from nat.turn.server import TurnServer, TurnTransport
from tests.support.peers import MEETING
from tests.support.relayed_peers import (
    FAR,
    KINDS,
    NATS,
    NEAR,
    RELAY,
    TCP,
    TLS,
    TRAFFIC,
    UDP,
    block_udp,
    both,
    hops,
    kinds,
    relayed_peers,
)
from tests.support.relays import turn_server
from tests.support.traffic import lost, send_data, stop_data


@pytest.mark.parametrize("transport", [TCP, TLS], ids=["TCP", "TLS"])
@pytest.mark.parametrize("kind", KINDS)
def test_who_has_no_udp_is_relayed_to_anybody_within_a_second(
    kind: str, transport: TurnServer
) -> None:
    subject = relayed_peers("port-restricted", kind, a_turn=(UDP, transport))
    block_udp(subject, subject.a)
    send_data(subject, TRAFFIC, MEETING)

    subject.run(MEETING + 5.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert [hops(path) for path in both(subject)] == [1, 1]
    for node in (subject.a, subject.b):
        first = node.wireguard.received[0][0]
        assert first - MEETING <= 1.0, "relayed traffic within a second of the announcement"


def test_two_who_have_no_udp_are_relayed_twice() -> None:
    subject = relayed_peers(
        "cone", "cone", a_turn=(TLS,), b_turn=(turn_server(FAR, TurnTransport.TCP),)
    )
    block_udp(subject, subject.a)
    block_udp(subject, subject.b)
    send_data(subject, TRAFFIC, MEETING)

    subject.run(MEETING + 5.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert [hops(path) for path in both(subject)] == [2, 2]
    assert max(n.wireguard.received[0][0] for n in (subject.a, subject.b)) - MEETING <= 1.0


@pytest.mark.parametrize("a_has_it", [True, False])
@pytest.mark.parametrize(
    ("kind_a", "kind_b"),
    [
        ("symmetric", "port-restricted"),
        ("port-restricted", "symmetric"),
        ("symmetric", "symmetric"),
    ],
)
def test_who_cannot_be_direct_is_relayed_once(kind_a: str, kind_b: str, a_has_it: bool) -> None:
    turn = (UDP,)
    subject = relayed_peers(
        kind_a, kind_b, a_turn=turn if a_has_it else (), b_turn=() if a_has_it else turn
    )
    send_data(subject, TRAFFIC, MEETING)

    subject.run(MEETING + 5.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert [hops(path) for path in both(subject)] == [1, 1]
    for node in (subject.a, subject.b):
        assert node.wireguard.received[0][0] - MEETING <= 1.0


@pytest.mark.parametrize("kind_b", ["open", "cone", "port-restricted", "firewall"])
def test_who_can_be_direct_is_direct_whatever_relays_there_are(kind_b: str) -> None:
    subject = relayed_peers("port-restricted", kind_b, a_turn=(UDP,), b_turn=(UDP,))
    send_data(subject, TRAFFIC, MEETING)

    subject.run(MEETING + 10.0)

    assert RELAY not in kinds(subject)
    assert [hops(path) for path in both(subject)] == [0, 0]
    assert lost(subject) <= 4


def test_one_relay_is_preferred_to_two() -> None:
    subject = relayed_peers("symmetric", "symmetric", a_turn=(UDP,), b_turn=(turn_server(FAR),))

    subject.run(MEETING + 10.0)

    assert [hops(path) for path in both(subject)] == [1, 1]


def test_relayed_candidates_are_announced_last_and_kept_apart_from_the_rest() -> None:
    subject = relayed_peers("port-restricted", "open")

    subject.run(MEETING)

    last = subject.a.candidates[-1]
    assert last.type is RELAY
    assert last.base == last.endpoint
    assert str(last.endpoint.ip) == NEAR
    assert all(c.type is not RELAY for c in subject.a.candidates[:-1])


def test_both_sides_know_whose_data_goes_where() -> None:
    subject = relayed_peers("symmetric", "port-restricted")

    subject.run(MEETING + 3.0)

    path_a, path_b = both(subject)
    assert path_a.data_endpoint.ip.is_loopback
    assert path_a.base == path_a.local.endpoint == path_b.remote.endpoint == path_b.data_endpoint
    assert subject.a.wireguard.endpoint == path_a.data_endpoint
    assert subject.b.wireguard.endpoint == path_b.data_endpoint


def test_data_takes_a_channel_and_checks_do_before_it_is_bound() -> None:
    subject = relayed_peers("symmetric", "port-restricted")
    send_data(subject, TRAFFIC, MEETING)

    subject.run(MEETING + 10.0)

    server = subject.turn[NEAR].server
    stop_data(subject)
    assert lost(subject) == 0
    assert server.channel_frames >= 450
    assert 0 < server.indications < 40


def test_a_relay_does_not_try_private_addresses() -> None:
    subject = relayed_peers("symmetric", "port-restricted")

    subject.run(MEETING + 3.0)

    (allocation,) = subject.turn[NEAR].server.allocations.values()
    assert {str(ip) for ip in allocation.permissions} == {NATS[1]}


def test_a_check_is_not_answered_before_data_would_get_through() -> None:
    subject = relayed_peers("symmetric", "port-restricted")
    subject.a.links.plug_delay = 0.7

    subject.run(MEETING + 0.7)
    assert kinds(subject) == [None, None]

    subject.run(MEETING + 3.0)
    assert kinds(subject) == [RELAY, RELAY]


@pytest.mark.parametrize("turns", [(UDP,), (UDP, turn_server(FAR))], ids=["one", "two servers"])
@pytest.mark.parametrize(
    ("kind_a", "kind_b"), [("symmetric", "port-restricted"), ("port-restricted", "open")]
)
def test_an_idle_peer_costs_at_most_15_packets_a_minute_whatever_relays_there_are(
    kind_a: str, kind_b: str, turns: tuple[TurnServer, ...]
) -> None:
    subject = relayed_peers(kind_a, kind_b, a_turn=turns, b_turn=turns)
    subject.run(300.0)
    counted: list[Datagram] = []

    def count(datagram: Datagram) -> bool:
        if 3478 not in (datagram.source.port, datagram.destination.port):
            counted.append(datagram)
        return False

    subject.network.block(count)
    subject.run(300.0 + 600.0)

    assert len(counted) / 10 <= 15, "both directions, STUN and TURN servers apart"
