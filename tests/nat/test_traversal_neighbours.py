"""Two traversals behind one NAT, and strangers at the same private address."""

from random import Random

import pytest

from nat.candidate import CandidateType
from nat.gathering import HostAddress
from nat.path.credentials import Role
from nat.path.events import (
    PeerId,
)
from nat.traversal import Traversal
from tests.support.nat import Nat
from tests.support.nat_kinds import NATS, assert_both_on
from tests.support.network import Host, endpoint
from tests.support.peers import (
    Peers,
    credentials_of,
)


def neighbours(*, hairpinning: bool) -> Peers:
    nat = Nat(NATS[0], hairpinning=hairpinning)
    return Peers(nat, nat, a=(endpoint("192.168.1.2"),), b=(endpoint("192.168.1.3", 51821),))


@pytest.mark.parametrize("hairpinning", [False, True])
def test_neighbours_take_the_lan(hairpinning: bool) -> None:
    peers = neighbours(hairpinning=hairpinning)
    peers.meet()

    peers.run(until=10.0)

    assert_both_on(peers, CandidateType.HOST)


@pytest.mark.parametrize(
    ("hairpinning", "kind"), [(False, None), (True, CandidateType.SERVER_REFLEXIVE)]
)
def test_neighbours_that_are_kept_apart_meet_outside_if_the_nat_hairpins(
    hairpinning: bool, kind: CandidateType | None
) -> None:
    peers = neighbours(hairpinning=hairpinning)
    peers.network.block(lambda d: str(d.destination.ip).startswith("192.168."))
    peers.meet()

    peers.run(until=10.0)

    assert_both_on(peers, kind)


def test_a_stranger_at_the_same_private_address_is_not_taken_for_the_peer() -> None:
    peers = Peers(Nat(NATS[0]), Nat(NATS[1]))
    stranger = Traversal(rng=Random(5), now=0.0)
    at = peers.b.host.addresses[0]
    stranger.set_host_addresses([HostAddress(at, "eth0")], 0.0)
    stranger.add_peer(
        PeerId("x"), credentials=credentials_of(Role.CONTROLLING), role=Role.CONTROLLING, now=0.0
    )
    peers.network.add(Host(stranger, at, nat=peers.a.host.nat))
    peers.meet()

    peers.run(until=10.0)

    assert_both_on(peers, CandidateType.SERVER_REFLEXIVE)
