"""IPv4 and IPv6 side by side: firewalled, single, dual, and with one of them dead."""

from itertools import pairwise

import pytest

from nat.candidate import CandidateType
from nat.path.events import Activity
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.network import endpoint
from tests.support.peers import MEETING, Peers

A6, B6 = endpoint("2001:db8:a::2"), endpoint("2001:db8:b::2")
A4, B4 = endpoint("192.0.2.10"), endpoint("192.0.2.20")
RTT = 0.04


def _firewall() -> Nat:
    """A stateful firewall without translation, as IPv6 homes have."""
    return Nat("198.51.100.9", Mapping.NONE, Filtering.ADDRESS_AND_PORT_DEPENDENT)


def _selected(peers: Peers) -> list[float]:
    times = [node.selected_at() for node in (peers.a, peers.b)]
    assert all(time is not None for time in times)
    return [time for time in times if time is not None]


def test_firewalled_hosts_with_nothing_but_ipv6_meet_at_their_own_addresses() -> None:
    peers = Peers(_firewall(), _firewall(), a=(A6,), b=(B6,))
    peers.meet()
    peers.run(MEETING + 1.0)

    for path in peers.paths:
        assert path is not None
        assert path.kind is CandidateType.HOST
        assert path.base.ip.version == path.remote.endpoint.ip.version == 6
    assert max(_selected(peers)) <= MEETING + RTT + 0.1


def test_a_shared_family_is_enough() -> None:
    peers = Peers(None, _firewall(), a=(A6, A4), b=(B6,))
    peers.meet()
    peers.run(MEETING + 1.0)

    for path in peers.paths:
        assert path is not None
        assert path.remote.endpoint in (A6, B6)


@pytest.mark.parametrize(("dead", "alive"), [(6, B4), (4, B6)])
def test_a_family_that_is_dead_from_the_start_costs_no_second(dead: int, alive: object) -> None:
    peers = Peers(a=(A6, A4), b=(B6, B4))
    peers.network.block(lambda datagram: datagram.destination.ip.version == dead)
    peers.meet()
    peers.run(MEETING + 2.0)

    path = peers.paths[0]
    assert path is not None
    assert path.remote.endpoint == alive
    assert max(_selected(peers)) <= MEETING + RTT + 0.1


def test_a_family_that_dies_is_left_for_the_one_that_was_kept_warm() -> None:
    peers = Peers(a=(A6, A4), b=(B6, B4), data=True)
    peers.meet()
    peers.network.at(2.0, lambda: peers.a.wireguard.send_data_every(0.05, 2.0))
    peers.network.at(2.0, lambda: peers.b.wireguard.send_data_every(0.05, 2.0))
    peers.run(10.0)
    preferred = peers.paths[0]
    assert preferred is not None
    family = preferred.remote.endpoint.ip.version
    peers.network.block(lambda datagram: datagram.destination.ip.version == family)
    peers.run(20.0)

    path = peers.paths[0]
    assert path is not None
    assert path.remote.endpoint.ip.version != family
    arrivals = [at for at, _ in peers.b.wireguard.received]
    gap = max(later - earlier for earlier, later in pairwise(arrivals))
    assert gap <= 3.0, "no slower than any other silent drop"


def test_without_a_common_family_nothing_is_sent_in_vain() -> None:
    peers = Peers(a=(A6,), b=(B4,))
    peers.meet()
    peers.run(MEETING + 60.0)

    crossed = {A6, B4}
    sent = [sent.datagram for sent in peers.network.sent]
    assert not [datagram for datagram in sent if {datagram.source, datagram.destination} == crossed]
    assert peers.paths == (None, None)
    assert peers.a.report(peers.network.now).activity is Activity.CHECKING
