"""Where WireGuard roams to, the agent follows, or calls it back."""

from ipaddress import ip_address

import pytest

from nat.candidate import CandidateType
from nat.path.events import PathLost, PathReasserted, PathSelected
from nat.stun.message import is_stun
from tests.support.nat import Nat
from tests.support.network import endpoint
from tests.support.peers import Peers
from tests.support.traffic import longest_gap, send_data
from tests.support.two_uplinks import FAR, SETTLED, TRAFFIC, two_uplinks


def test_data_from_a_rebound_mapping_is_followed() -> None:
    nat = Nat("198.51.100.2")
    peers = Peers(None, nat, data=True)
    peers.meet()
    send_data(peers, TRAFFIC, 2.0)
    peers.run(until=SETTLED)

    # Nobody's agent is told; B's kernel goes on sending, from another mapping.
    nat.rebind(ip_address("198.51.100.77"))
    peers.run(until=SETTLED + 1.5)

    path = peers.a.path(peers.network.now)
    assert path is not None
    assert str(path.remote.endpoint.ip) == "198.51.100.77"
    peers.run(until=SETTLED + 60.0)
    for node in (peers.a, peers.b):
        assert node.host.events_of(PathLost) == []
        assert node.host.events_of(PathReasserted) == []
        assert longest_gap(node, SETTLED, SETTLED + 60.0) < 0.2
    remotes = [e.path.remote.endpoint for e in peers.a.host.events_of(PathSelected)]
    assert len(remotes) == len(set(remotes)) == 2
    peers.introduce(peers.a, peers.b)
    assert [path and path.kind for path in peers.paths] == [CandidateType.SERVER_REFLEXIVE] * 2


def test_data_to_an_address_that_answers_no_check_is_called_back() -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    nowhere = endpoint("203.0.113.99")
    peers.b.wireguard.send_data_every(float("inf"), SETTLED)
    peers.run(until=SETTLED + 0.1)

    peers.a.wireguard.endpoint = nowhere
    peers.run(until=SETTLED + 3.0)

    (event,) = peers.a.host.events_of(PathReasserted)
    assert event.disputed == nowhere
    assert event.path == peers.a.path(peers.network.now)
    assert peers.a.wireguard.endpoint == FAR


@pytest.mark.parametrize("ip", ["127.0.0.1", "224.0.0.1"])
def test_data_to_an_address_that_no_peer_can_have_is_called_back_unasked(ip: str) -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    peers.b.wireguard.send_data_every(float("inf"), SETTLED)
    peers.run(until=SETTLED + 0.1)

    peers.a.wireguard.endpoint = endpoint(ip)
    peers.run(until=SETTLED + 1.1)

    assert len(peers.a.host.events_of(PathReasserted)) == 1
    assert all(
        s.datagram.destination.ip != ip_address(ip) or not is_stun(s.datagram.payload)
        for s in peers.network.sent
    )
