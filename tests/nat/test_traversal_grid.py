"""Two traversals behind every kind of NAT and every other, however late and lossy."""

from itertools import product

import pytest

from nat.candidate import CandidateType
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.nat_kinds import KINDS, LATENCY, NATS, assert_both_on, peers_behind
from tests.support.peers import (
    MEETING,
    STUN_SERVER,
    Node,
    Peers,
    direct_path_possible,
    expected_kind,
)

RTT = 2 * LATENCY

EVERY_CELL = pytest.mark.parametrize(
    ("kind_a", "kind_b"), list(product(KINDS, KINDS)), ids=lambda kind: str(kind)
)


@EVERY_CELL
def test_every_reachable_pair_of_nats_connects_within_a_round_trip_and_100_ms(
    kind_a: str, kind_b: str
) -> None:
    peers, nat_a, nat_b = peers_behind(kind_a, kind_b)
    peers.meet()

    peers.run(until=MEETING + 5.0)

    assert_both_on(peers, expected_kind(nat_a, nat_b))
    if direct_path_possible(nat_a, nat_b):
        # The controlled side hears of the selection half a round trip after the controlling one.
        assert_valid_within(peers.a, MEETING, RTT + 0.1)
        assert_valid_within(peers.b, MEETING, RTT + 0.1 + LATENCY)


LATE_KINDS = [
    "open",
    "firewall/address-and-port-dependent",
    "endpoint-independent/endpoint-independent",
    "endpoint-independent/address-dependent",
    "endpoint-independent/address-and-port-dependent",
    "address-and-port-dependent/address-and-port-dependent",
]


@pytest.mark.parametrize("late", [0.05, 30.0, 300.0])
@pytest.mark.parametrize(("kind_a", "kind_b"), list(product(LATE_KINDS, LATE_KINDS)))
def test_a_side_that_learns_late_is_connected_as_fast(
    kind_a: str, kind_b: str, late: float
) -> None:
    peers, nat_a, nat_b = peers_behind(kind_a, kind_b)
    peers.meet(b_late=late)

    peers.run(until=MEETING + late + 35.0)

    assert_both_on(peers, expected_kind(nat_a, nat_b))
    if direct_path_possible(nat_a, nat_b):
        # A side whose mapping varies can only be reached by answering its checks. A filter by
        # address hides all of them until B has sent, and the next may be half a minute away.
        hidden = nat_a is not None and nat_a.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
        by_address = nat_b is not None and nat_b.filtering is Filtering.ADDRESS_DEPENDENT
        allowed = RTT + 0.1 if late < 1.0 or not (hidden and by_address) else 30.0 + RTT
        assert_valid_within(peers.a, MEETING + late, allowed)
        assert_valid_within(peers.b, MEETING + late, allowed + LATENCY)


def assert_valid_within(node: Node, since: float, seconds: float) -> None:
    selected_at = node.selected_at()
    assert selected_at is not None
    assert selected_at - since <= seconds + 1e-6


def test_first_checks_of_both_sides_leave_within_50_ms_of_each_other() -> None:
    peers, _, _ = peers_behind(
        "endpoint-independent/address-and-port-dependent",
        "endpoint-independent/address-and-port-dependent",
    )
    peers.meet()

    peers.run(until=MEETING + 1.0)

    first = [
        min(
            sent.at
            for sent in peers.network.sent_by(node.host, since=MEETING)
            if sent.datagram.destination != STUN_SERVER
        )
        for node in (peers.a, peers.b)
    ]
    assert abs(first[0] - first[1]) <= 0.05
    assert max(first) <= MEETING + 0.05


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("loss", [0.02, 0.2])
def test_loss_and_latency_delay_a_path_but_do_not_prevent_it(loss: float, seed: int) -> None:
    peers = Peers(Nat(NATS[0]), Nat(NATS[1]), latency=0.1, loss=loss, seed=seed)
    peers.meet(at=5.0)

    peers.run(until=8.0)

    assert_both_on(peers, CandidateType.SERVER_REFLEXIVE)
