"""Pairs that pass checks and no data are vetoed."""

import pytest

from nat.path.events import Activity, PathLost, PathSelected
from nat.stun.message import is_stun
from tests.support.peers import Peers
from tests.support.traffic import longest_gap, send_data
from tests.support.two_uplinks import (
    CUTS,
    FAR,
    FAST,
    SETTLED,
    SLOW,
    TRAFFIC,
    latency,
    on_fast,
    two_uplinks,
    uplink,
)


@pytest.mark.parametrize("a_has_them", [True, False], ids=["A's uplink", "B's uplink"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_firewall_that_lets_only_stun_through_is_left_after_15_seconds(
    cut: str, a_has_them: bool
) -> None:
    peers = two_uplinks(a_has_them=a_has_them)
    peers.run(until=SETTLED)

    peers.network.block(lambda d: CUTS[cut](d) and not is_stun(d.payload))
    peers.run(until=SETTLED + 40.0)

    assert uplink(peers) == [SLOW, SLOW]
    for node in (peers.a, peers.b):
        assert longest_gap(node, SETTLED, SETTLED + 40.0) <= 20.0
        assert node.host.events_of(PathLost) == []


def test_a_veto_grows_and_ends() -> None:
    peers = two_uplinks(traffic=0.5)
    peers.run(until=SETTLED)
    lift = peers.network.block(lambda d: on_fast(d) and not is_stun(d.payload))

    peers.run(until=SETTLED + 300.0)
    moves = [
        at
        for at, event in zip(peers.a.host.events_at, peers.a.host.events, strict=True)
        if isinstance(event, PathSelected) and at > SETTLED
    ]
    away, back = moves[::2], moves[1::2]
    vetoes = [b - a for a, b in zip(away, back, strict=False)]
    # A refused pair is asked about each 25 seconds (with jitter), so it may take so much longer.
    assert 60.0 <= vetoes[0] <= 90.0
    assert 120.0 <= vetoes[1] <= 150.0

    lift()
    peers.run(until=SETTLED + 600.0)
    assert uplink(peers) == [FAST, FAST]


def test_the_only_pair_is_never_vetoed() -> None:
    peers = Peers(data=True)
    peers.meet()
    send_data(peers, TRAFFIC, 2.0)
    peers.run(until=SETTLED)

    lift = peers.network.block(lambda d: not is_stun(d.payload))
    peers.run(until=SETTLED + 120.0)

    for node in (peers.a, peers.b):
        assert node.report(peers.network.now).activity is Activity.CONNECTED
    lift()
    peers.run(until=SETTLED + 130.0)
    for node in (peers.a, peers.b):
        assert longest_gap(node, SETTLED + 126.0, SETTLED + 130.0) < 0.1


def test_a_pair_that_never_carried_data_is_vetoed_before_the_first_handshake() -> None:
    peers = Peers(a=(FAST, SLOW), b=(FAR,), latency=latency(), data=True)
    peers.network.block(lambda d: on_fast(d) and not is_stun(d.payload))
    peers.meet()
    send_data(peers, TRAFFIC, 2.0)

    peers.run(until=40.0)

    assert uplink(peers) == [SLOW, SLOW]
    assert peers.a.wireguard.live


def test_an_idle_session_is_not_taken_for_unanswered_data() -> None:
    peers = Peers(a=(FAST, SLOW), b=(FAR,), latency=latency(), data=True)
    peers.meet()
    peers.run(until=SETTLED)
    # B sends no keepalives any more, A's go on: 32 bytes each 25 seconds, never answered.
    peers.b.wireguard._clock.keepalive = float("inf")
    events = [len(node.host.events_of(PathSelected)) for node in (peers.a, peers.b)]

    peers.run(until=SETTLED + 1800.0)

    assert [len(node.host.events_of(PathSelected)) for node in (peers.a, peers.b)] == events
