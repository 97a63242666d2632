"""A path that dies or comes back under traffic: how soon data moves."""

from statistics import median

import pytest

from nat.gathering import HostAddress
from nat.machine import Datagram
from nat.path.events import Activity, PathLost, PathSelected
from nat.stun.message import is_stun
from tests.support.peers import Peers
from tests.support.traffic import longest_gap, send_data
from tests.support.two_uplinks import (
    CUTS,
    FAR,
    FAST,
    LIGHT_TRAFFIC,
    SETTLED,
    SLOW,
    TRAFFIC,
    latency,
    on_fast,
    two_uplinks,
    uplink,
)

PHASES = [0.06 * i for i in range(10)]
"""Seconds after which a cut is made: all over the time between two checks, of either side."""


def gap_of_a_cut(cut: str, peers: Peers, dropped_at: float) -> float:
    """Seconds without data, in the direction that suffers most."""
    peers.run(until=dropped_at)
    assert uplink(peers) == [FAST, FAST]
    peers.network.block(CUTS[cut])
    peers.run(until=dropped_at + 4.0)
    assert uplink(peers) == [SLOW, SLOW]
    for node in (peers.a, peers.b):
        assert node.host.events_of(PathLost) == []
    return max(longest_gap(node, dropped_at, dropped_at + 4.0) for node in (peers.a, peers.b))


@pytest.mark.parametrize("a_has_them", [True, False], ids=["A's uplink", "B's uplink"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_silent_drop_moves_the_data_within_a_second(cut: str, a_has_them: bool) -> None:
    gaps = [
        gap_of_a_cut(cut, two_uplinks(a_has_them=a_has_them), SETTLED + phase) for phase in PHASES
    ]

    assert median(gaps) <= 0.9
    assert max(gaps) <= 1.1


@pytest.mark.parametrize("cut", CUTS)
def test_a_silent_drop_of_a_path_across_the_world_moves_the_data_in_one_and_a_half(
    cut: str,
) -> None:
    gaps = []
    for phase in PHASES[::2]:
        peers = two_uplinks()
        peers.network.latency = latency(0.1, 0.14)
        gaps.append(gap_of_a_cut(cut, peers, SETTLED + phase))

    assert median(gaps) <= 1.0
    assert max(gaps) <= 1.3


def test_an_agent_that_was_busy_for_a_second_moves_nothing() -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    waiting: list[Datagram] = []

    def held_up(datagram: Datagram) -> bool:
        if is_stun(datagram.payload) and datagram.destination == FAR:
            waiting.append(datagram)
            return True
        return False

    lift = peers.network.block(held_up)
    peers.b.sidecar.agent_alive = False
    peers.run(until=SETTLED + 1.0)
    lift()
    peers.b.sidecar.agent_alive = True
    for datagram in reversed(waiting):  # those of the slow uplink in between
        peers.b.traversal.receive_datagram(datagram, peers.network.now)
    peers.run(until=SETTLED + 5.0)

    assert {FAST, SLOW} <= {datagram.source for datagram in waiting}
    assert uplink(peers) == [FAST, FAST]
    for node in (peers.a, peers.b):
        assert len(node.host.events_of(PathSelected)) == 1


def test_data_returns_to_the_better_pair_without_losing_a_packet() -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    lift = peers.network.block(on_fast)
    peers.run(until=SETTLED + 30.0)
    assert uplink(peers) == [SLOW, SLOW]
    moving_since = SETTLED + 35.0
    peers.run(until=moving_since)
    lift()

    peers.run(until=moving_since + 60.0)

    assert uplink(peers) == [FAST, FAST]
    for node, sender in ((peers.a, peers.b), (peers.b, peers.a)):
        numbers = [number for at, number in node.wireguard.received if at >= moving_since]
        assert numbers[-1] >= sender.wireguard.sent - 5
        assert sorted(numbers) == list(range(min(numbers), max(numbers) + 1))


def test_a_dead_path_without_an_alternative_is_lost_and_found_again() -> None:
    peers = Peers(data=True)
    peers.meet()
    send_data(peers, TRAFFIC, 2.0)
    peers.run(until=SETTLED)

    lift = peers.network.block(lambda d: True)
    peers.run(until=SETTLED + 60.0)
    for node in (peers.a, peers.b):
        assert node.report(peers.network.now).activity is Activity.LOST
        assert len(node.host.events_of(PathLost)) == 1
    lift()
    peers.run(until=SETTLED + 90.0)

    for node in (peers.a, peers.b):
        assert node.report(peers.network.now).activity is Activity.CONNECTED


@pytest.mark.parametrize("seed", range(3))
def test_two_percent_loss_moves_nothing(seed: int) -> None:
    peers = two_uplinks(seed=seed, loss=0.02, traffic=LIGHT_TRAFFIC)
    peers.run(until=30.0)
    before = [len(node.host.events) for node in (peers.a, peers.b)]

    peers.run(until=330.0)

    moved = [
        [e for e in node.host.events[n:] if isinstance(e, PathSelected | PathLost)]
        for node, n in zip((peers.a, peers.b), before, strict=True)
    ]
    assert moved == [[], []]
    assert uplink(peers) == [FAST, FAST]


@pytest.mark.parametrize("a_moves", [True, False])
def test_data_of_an_address_that_is_gone_takes_another_pair_that_works_at_once(
    a_moves: bool,
) -> None:
    peers = two_uplinks(a_has_them=a_moves)
    peers.run(until=SETTLED)
    node = peers.a if a_moves else peers.b
    assert uplink(peers) == [FAST, FAST]

    node.host.addresses = (SLOW,)
    node.traversal.set_host_addresses([HostAddress(SLOW, "eth1")], SETTLED)
    peers.run(until=SETTLED + 0.01)

    path = node.path(peers.network.now)
    assert path is not None
    assert path.base == SLOW
    assert node.host.events_of(PathLost) == []
