"""A path dies while nobody uses it; who begins to send must not wait for the next regular check."""

from collections.abc import Callable
from itertools import pairwise
from math import inf

import pytest

from nat.machine import Datagram
from nat.path.events import PathLost
from tests.support.network import endpoint
from tests.support.peers import Node, Peers

FAST, SLOW = endpoint("192.0.2.10"), endpoint("192.0.2.11")
FAR = endpoint("192.0.2.20")
TRAFFIC = 0.02
IDLE = 80.0
"""Seconds after which nobody has been active for a minute."""

FAILOVER = 1.5
"""Seconds for which data may stand still where another path works."""


def latency(datagram: Datagram) -> float:
    return 0.04 if SLOW in (datagram.source, datagram.destination) else 0.02


def on_fast(datagram: Datagram) -> bool:
    return FAST in (datagram.source, datagram.destination)


def towards_fast(datagram: Datagram) -> bool:
    return datagram.destination == FAST


def from_fast(datagram: Datagram) -> bool:
    return datagram.source == FAST


def gap(node: Node, since: float, until: float) -> float:
    times = [at for at, _ in node.wireguard.received if since <= at <= until]
    return max(after - before for before, after in pairwise([since, *times, until]))


def send(peers: Peers, interval: float) -> None:
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(interval, peers.network.now)


@pytest.mark.parametrize("cut", [on_fast, towards_fast, from_fast])
@pytest.mark.parametrize("phase", [0.0, 0.13, 0.26, 0.39])
def test_data_that_begins_to_flow_on_a_dead_path_is_moved_in_time(
    cut: Callable[[Datagram], bool], phase: float
) -> None:
    peers = Peers(a=(FAST, SLOW), b=(FAR,), latency=latency, data=True)
    peers.meet()
    peers.run(2.0)
    send(peers, TRAFFIC)
    peers.run(4.0)
    send(peers, inf)
    peers.run(IDLE)
    peers.network.block(cut)
    start = IDLE + 15.0 + phase
    peers.run(start)

    send(peers, TRAFFIC)
    peers.run(start + 5.0)

    assert max(gap(node, start, start + 5.0) for node in (peers.a, peers.b)) <= FAILOVER
    assert [e for node in (peers.a, peers.b) for e in node.host.events_of(PathLost)] == []
