"""A host that learns of many peers at once: how soon each of them has its path."""

from itertools import pairwise
from random import Random

import pytest

from nat.candidate import parse_candidate
from nat.gathering import HostAddress
from nat.machine import Endpoint
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PathSelected, PeerId
from nat.traversal import Traversal
from tests.support.nat import Nat
from tests.support.network import Host, SimNetwork, endpoint
from tests.support.peers import TWO_SERVERS
from tests.support.stun_server import StunServer

HUB = PeerId("hub")
LATENCY = 0.02
LEARNED = 2.0
"""Seconds after the start when the announcements are read."""

PROMPT = 2 * LATENCY + 0.1
"""One round trip and 100 ms."""


class Newcomer:
    """A host at home, behind a NAT of its own with as many addresses as homes have."""

    def __init__(self, number: int, addresses: int) -> None:
        nat = Nat(f"198.51.100.{number + 1}")
        bases = [endpoint(f"192.168.{number + 1}.{last + 2}") for last in range(addresses)]
        self.traversal = Traversal(rng=Random(number), now=0.0)
        self.traversal.set_host_addresses(
            [HostAddress(base, f"eth{i}") for i, base in enumerate(bases)], 0.0
        )
        self.traversal.set_stun_servers(TWO_SERVERS, 0.0)
        self.host = Host(self.traversal, *bases, nat=nat)

    def learn(
        self, peer: PeerId, other: "Newcomer", credentials: IceCredentials, role: Role
    ) -> None:
        self.traversal.add_peer(peer, credentials=credentials, role=role, now=LEARNED)
        announced = [parse_candidate(c.to_sdp()) for c in other.traversal.local_candidates]
        self.traversal.set_remote_candidates(peer, announced, LEARNED)

    def connected_at(self) -> dict[PeerId, float]:
        found: dict[PeerId, float] = {}
        for at, event in zip(self.host.events_at, self.host.events, strict=True):
            if isinstance(event, PathSelected):
                found.setdefault(event.peer, at)
        return found


@pytest.mark.parametrize("addresses", [1, 2])
def test_twenty_new_peers_have_their_paths_within_a_round_trip_and_100_ms(addresses: int) -> None:
    hub = Newcomer(0, 1)
    homes = {PeerId(f"home-{i}"): Newcomer(i, addresses) for i in range(1, 21)}
    network = SimNetwork(
        hub.host,
        *(home.host for home in homes.values()),
        *(Host(StunServer(), server) for server in TWO_SERVERS),
        latency=LATENCY,
    )

    def announce() -> None:
        for name, home in homes.items():
            ours, theirs = (f"hub-{name}", "password-of-hub" * 2), (f"{name}", "password" * 3)
            hub.learn(name, home, IceCredentials(*ours, *theirs), Role.CONTROLLING)
            home.learn(HUB, hub, IceCredentials(*theirs, *ours), Role.CONTROLLED)

    network.at(LEARNED, announce)
    network.run(until=LEARNED + 3.0)

    at = hub.connected_at()
    assert set(at) == set(homes)
    assert max(at.values()) - LEARNED <= PROMPT
    for home in homes.values():
        # The other side learns by a nomination, half a round trip later.
        assert home.connected_at()[HUB] - LEARNED <= PROMPT + LATENCY


def test_nothing_announced_is_asked_more_rarely_than_every_30_seconds() -> None:
    hub, home = Newcomer(0, 1), Newcomer(1, 1)
    network = SimNetwork(
        hub.host, *(Host(StunServer(), server) for server in TWO_SERVERS), latency=LATENCY
    )
    lost = endpoint("203.0.113.99", 4000)
    home.host.addresses = ()
    announced = [parse_candidate(f"1 1 udp 2130706431 {lost.ip} {lost.port} typ host")]

    def announce() -> None:
        ours, theirs = ("hub", "password-of-hub" * 2), ("home", "password" * 3)
        hub.traversal.add_peer(
            HUB, credentials=IceCredentials(*ours, *theirs), role=Role.CONTROLLING, now=LEARNED
        )
        hub.traversal.set_remote_candidates(HUB, announced, LEARNED)

    network.at(LEARNED, announce)
    network.run(until=3600.0)

    times = checks_to(network, hub, lost)
    assert max(after - before for before, after in pairwise(times)) < 30.0
    assert 3600.0 - times[-1] < 30.0


def checks_to(network: SimNetwork, node: Newcomer, remote: Endpoint) -> list[float]:
    return [s.at for s in network.sent_by(node.host) if s.datagram.destination == remote]
