"""Which pair carries the data where several work: the faster one, and what that costs."""

import pytest

from tests.support.peers import Peers
from tests.support.traffic import send_data
from tests.support.two_uplinks import FAR, FAST, LIGHT_TRAFFIC, SETTLED, SLOW, latency, uplink


@pytest.mark.parametrize("slow", [0.0225, 0.0235, 0.03])
def test_the_faster_pair_wins_and_keeps_winning(slow: float) -> None:
    peers = Peers(a=(SLOW, FAST), b=(FAR,), latency=latency(slow=slow), data=True)
    peers.meet()

    peers.run(until=60.0)

    assert uplink(peers) == [FAST, FAST]


def test_a_pair_that_is_hardly_faster_displaces_nothing() -> None:
    fast, slow = 0.02, 0.02
    peers = Peers(
        a=(FAST, SLOW),
        b=(FAR,),
        latency=lambda d: slow if SLOW in (d.source, d.destination) else fast,
        data=True,
    )
    peers.meet()
    send_data(peers, LIGHT_TRAFFIC, 2.0)
    peers.run(until=SETTLED)
    assert uplink(peers) == [FAST, FAST]

    slow = 0.018  # 4 ms of 40 ms round trip: less than 20 % and less than 5 ms
    peers.run(until=SETTLED + 120.0)
    assert uplink(peers) == [FAST, FAST]

    slow = 0.015  # 10 ms of 40 ms: more than both
    peers.run(until=SETTLED + 240.0)
    assert uplink(peers) == [SLOW, SLOW]


def test_an_idle_peer_with_wireguard_costs_at_most_15_packets_a_minute() -> None:
    peers = Peers(a=(FAST, SLOW), b=(FAR,), latency=latency(), data=True)
    peers.meet()
    peers.run(until=300.0)
    stun = peers.network.sent

    for minute in range(5, 35):
        start = minute * 60.0
        peers.run(until=start + 60.0)
        packets = [
            s for s in stun if s.at >= start and FAR in (s.datagram.source, s.datagram.destination)
        ]
        assert len([s for s in packets if s.datagram.destination.port != 3478]) <= 15
