"""A host that gets another address, and a NAT that becomes another."""

from ipaddress import ip_address

import pytest

from nat.gathering import HostAddress
from nat.path.events import (
    CandidatesChanged,
)
from tests.support.nat import Nat
from tests.support.nat_kinds import NATS
from tests.support.network import endpoint
from tests.support.peers import (
    Peers,
)


@pytest.mark.parametrize("announced_after", [0.0, 1.4])
def test_a_new_address_is_used_within_two_seconds(announced_after: float) -> None:
    # B's filter knows only the old address: without an announcement nothing can get in.
    filtered = announced_after > 0.0
    peers = Peers(None, Nat(NATS[1]) if filtered else None)
    peers.meet()
    peers.run(until=10.0)

    roamed = endpoint("192.0.2.99")
    peers.a.host.addresses = (roamed,)
    peers.a.traversal.set_host_addresses([HostAddress(roamed, "wlan0")], 10.0)
    if filtered:
        peers.network.at(10.0 + announced_after, lambda: peers.introduce(peers.b, peers.a))
    peers.run(until=10.2 + announced_after)

    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    assert path_a.base == roamed
    assert path_b.remote.endpoint == roamed


def test_a_rebound_nat_is_followed_when_it_is_noticed() -> None:
    nat = Nat(NATS[0])
    peers = Peers(nat, None)
    peers.meet()
    peers.run(until=10.0)

    nat.rebind(ip_address("198.51.100.77"))
    peers.a.traversal.network_changed(10.0)
    peers.run(until=11.0)

    _, path_b = peers.paths
    assert path_b is not None
    assert str(path_b.remote.endpoint.ip) == "198.51.100.77"


def test_our_own_candidates_are_told_when_the_nat_changes() -> None:
    nat = Nat(NATS[0])
    peers = Peers(nat, None)
    peers.run(until=10.0)

    nat.rebind(ip_address("198.51.100.77"))
    peers.run(until=60.0)

    changes = peers.a.host.events_of(CandidatesChanged)
    assert "198.51.100.77" in {str(c.endpoint.ip) for c in changes[-1].candidates}
    assert changes[-1].candidates == peers.a.candidates
