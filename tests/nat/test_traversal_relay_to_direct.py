"""Traffic begins on a relay, moves to a direct path, and back when that dies."""

from collections.abc import Callable
from random import Random

import pytest

from nat.machine import Datagram
from nat.path.events import PathLost, PathSelected
from tests.support.peers import MEETING
from tests.support.relayed_peers import (
    NEAR,
    RELAY,
    TRAFFIC,
    UDP,
    block_direct,
    kinds,
    relayed_peers,
)
from tests.support.traffic import longest_gap, lost, send_data, stop_data


def jitter(seed: int, slowest: float) -> Callable[[Datagram], float]:
    """Relays are slower than the direct path, and no two datagrams take equally long."""
    rng = Random(seed)

    def latency(datagram: Datagram) -> float:
        by_relay = NEAR in (str(datagram.source.ip), str(datagram.destination.ip))
        return (slowest if by_relay else 0.01) + rng.uniform(0.0, 0.003)

    return latency


@pytest.mark.parametrize("a_has_it", [True, False], ids=["A's relay", "B's relay"])
@pytest.mark.parametrize("seed", range(10))
def test_traffic_begins_on_the_relay_and_moves_to_direct_without_loss(
    a_has_it: bool, seed: int
) -> None:
    subject = relayed_peers(
        "port-restricted",
        "port-restricted",
        a_turn=(UDP,) if a_has_it else (),
        b_turn=() if a_has_it else (UDP,),
        latency=jitter(seed, 0.04),
        seed=seed,
    )
    lift = block_direct(subject)
    subject.run(MEETING + 2.0)
    assert kinds(subject) == [RELAY, RELAY]
    send_data(subject, 0.005, MEETING + 2.0)
    subject.run(MEETING + 3.0)

    lift()
    for node in (subject.a, subject.b):
        node.traversal.network_changed(subject.network.now)
    subject.run(MEETING + 10.0)

    assert RELAY not in kinds(subject)
    for node in (subject.a, subject.b):
        moves = [e for e in node.host.events_of(PathSelected) if e.previous is not None]
        assert len(moves) == 1, "no falling back"
        assert node.host.events_of(PathLost) == []
        path = node.path(subject.network.now)
        assert path is not None
        assert node.wireguard.endpoint == path.data_endpoint
    stop_data(subject)
    assert lost(subject) == 0


def test_direct_is_tried_for_ever_while_relayed() -> None:
    subject = relayed_peers("port-restricted", "port-restricted")
    lift = block_direct(subject)
    send_data(subject, 5.0, MEETING)
    subject.run(MEETING + 900.0)
    assert kinds(subject) == [RELAY, RELAY]

    lift()
    subject.run(MEETING + 900.0 + 30.0)

    assert RELAY not in kinds(subject)


def test_a_direct_path_that_dies_is_replaced_by_the_relay() -> None:
    subject = relayed_peers("port-restricted", "port-restricted")
    send_data(subject, TRAFFIC, MEETING)
    subject.run(MEETING + 20.0)
    assert RELAY not in kinds(subject)

    cut = subject.network.now
    block_direct(subject)
    subject.run(cut + 10.0)

    assert kinds(subject) == [RELAY, RELAY]
    for node in (subject.a, subject.b):
        assert longest_gap(node, cut, cut + 10.0) <= 3.0
        assert node.host.events_of(PathLost) == []
