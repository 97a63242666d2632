"""Data that only a relay carries, while the host or its NAT becomes another."""

from collections.abc import Callable

import pytest

from nat.candidate import CandidateType
from nat.gathering import HostAddress
from nat.turn.server import TurnServer, TurnTransport
from tests.support.chat import announce
from tests.support.nat import Mapping, Nat
from tests.support.network import endpoint
from tests.support.peers import MEETING, Peers
from tests.support.relays import turn_server
from tests.support.traffic import longest_gap, send_data

SERVER = "203.0.113.50"
UDP, TCP = (turn_server(SERVER, t) for t in (TurnTransport.UDP, TurnTransport.TCP))
TRAFFIC = 0.02
SETTLED = 12.0
GOAL = 2.0
"""Seconds for which data may stand still where a new path exists."""

PHASES = [SETTLED + 0.87 * phase for phase in range(4)]


def relayed(server: TurnServer = UDP) -> Peers:
    """A, which has a relay and no direct path, and B, which lets in only whom it has asked."""
    peers = Peers(
        Nat("198.51.100.1", Mapping.ADDRESS_AND_PORT_DEPENDENT),
        Nat("198.51.100.2", Mapping.ADDRESS_AND_PORT_DEPENDENT),
        turn=(SERVER,),
        a_turn=(server,),
        data=True,
    )
    peers.meet()
    announce(peers, peers.a, peers.b)
    send_data(peers, TRAFFIC, MEETING + 1.0)
    return peers


def gaps(peers: Peers, moment: float, event: Callable[[Peers], None]) -> list[float]:
    peers.run(moment)
    assert [path and path.kind for path in peers.paths] == [CandidateType.RELAYED] * 2
    event(peers)
    peers.run(moment + 5.0)
    return [longest_gap(node, moment, moment + 5.0) for node in (peers.a, peers.b)]


def rebind(peers: Peers) -> None:
    """Forget every mapping of A's NAT; A sees nothing."""
    assert peers.a.host.nat is not None
    peers.a.host.nat.rebind()


def move(peers: Peers) -> None:
    """Give A another address; its connection to the server ends with the old one."""
    a, now = peers.a, peers.network.now
    roamed = endpoint("192.168.1.99")
    a.host.addresses = (roamed,)
    a.links.local = a.wireguard.base = roamed
    a.traversal.set_host_addresses([HostAddress(roamed, "wlan0")], now)
    a.traversal.network_changed(now)


@pytest.mark.parametrize("event", [rebind, move])
def test_data_by_a_relay_follows_its_host_within_two_seconds(
    event: Callable[[Peers], None],
) -> None:
    measured = [gap for moment in PHASES for gap in gaps(relayed(), moment, event)]

    assert max(measured) <= GOAL


def test_data_by_a_relay_over_tcp_follows_its_host_within_two_seconds() -> None:
    peers = relayed(TCP)
    peers.run(SETTLED)
    # What the connection was made from is gone; what is made anew gets through.
    peers.a.links.reachable = lambda server: peers.a.links.remade > 0

    measured = gaps(peers, SETTLED, move)

    assert max(measured) <= GOAL
    assert peers.a.links.remade == 1


def test_a_relay_that_still_knows_us_is_kept_when_the_network_changes() -> None:
    peers = relayed()
    peers.run(SETTLED)
    before = peers.a.traversal.turn_servers

    peers.a.traversal.network_changed(SETTLED)
    peers.run(SETTLED + 5.0)

    assert [r.relayed for r in peers.a.traversal.turn_servers] == [r.relayed for r in before]
    assert peers.a.links.remade == 0
    for node in (peers.a, peers.b):
        assert longest_gap(node, SETTLED, SETTLED + 5.0) <= 5 * TRAFFIC


def test_a_peer_that_dies_does_not_have_the_relay_asked_again_and_again() -> None:
    peers = relayed()
    peers.run(SETTLED)

    peers.b.host.online = False
    peers.run(SETTLED + 3.0)
    asked = peers.turn[SERVER].server.requests.copy()
    peers.run(SETTLED + 60.0)

    later = peers.turn[SERVER].server.requests - asked
    assert sum(later.values()) <= 8
