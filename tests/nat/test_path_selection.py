"""Which pair carries the data, with a WireGuard beside each agent: failover, evidence, veto.

Every scenario has traffic of 50 packets a second each way and is judged by the packets.
"""

from collections.abc import Callable
from ipaddress import ip_address
from itertools import pairwise
from statistics import median

import pytest

from nat.candidate import CandidateType
from nat.gathering import HostAddress
from nat.machine import Datagram, Endpoint
from nat.path.events import Activity, PathLost, PathReasserted, PathSelected
from nat.stun.message import is_stun
from tests.support.nat import Nat
from tests.support.network import endpoint
from tests.support.peers import Node, Peers

FAST, SLOW = endpoint("192.0.2.10"), endpoint("192.0.2.11")
FAR = endpoint("192.0.2.20")
TRAFFIC = 0.02
"""Seconds between data packets."""

SETTLED = 20.0
"""Seconds after the start when everything is measured."""

Predicate = Callable[[Datagram], bool]


def latency(fast: float = 0.02, slow: float = 0.04) -> Callable[[Datagram], float]:
    return lambda d: slow if SLOW in (d.source, d.destination) else fast


def two_uplinks(
    *, a_has_them: bool = True, seed: int = 1, loss: float = 0.0, traffic: float = TRAFFIC
) -> Peers:
    """A and B in the open internet; one of them has a fast and a slow uplink."""
    ends = ((FAST, SLOW), (FAR,)) if a_has_them else ((FAR,), (FAST, SLOW))
    peers = Peers(a=ends[0], b=ends[1], latency=latency(), loss=loss, seed=seed, data=True)
    peers.meet()
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(traffic, 2.0)
    return peers


def on_fast(datagram: Datagram) -> bool:
    return FAST in (datagram.source, datagram.destination)


def uplink(peers: Peers) -> list[Endpoint]:
    """The end of both selected paths that is one of the two uplinks."""
    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    ends = [path_a.base, path_a.remote.endpoint, path_b.base, path_b.remote.endpoint]
    return [end for end in ends if end in (FAST, SLOW)]


def longest_gap(node: Node, since: float, until: float) -> float:
    """Seconds without a data packet, at most."""
    times = [at for at, _ in node.wireguard.received if since <= at <= until]
    return max(after - before for before, after in pairwise([since, *times, until]))


CUTS: dict[str, Predicate] = {
    "everything": on_fast,
    "one direction": lambda d: d.source == FAST,
    "the other direction": lambda d: d.destination == FAST,
}


# Failover ------------------------------------------------------------------------------------


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
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(TRAFFIC, 2.0)
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
    peers = two_uplinks(seed=seed, loss=0.02)
    peers.run(until=30.0)
    before = [len(node.host.events) for node in (peers.a, peers.b)]

    peers.run(until=330.0)

    moved = [
        [e for e in node.host.events[n:] if isinstance(e, PathSelected | PathLost)]
        for node, n in zip((peers.a, peers.b), before, strict=True)
    ]
    assert moved == [[], []]
    assert uplink(peers) == [FAST, FAST]


# Measuring -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("slow", "expected"), [(0.0225, FAST), (0.0235, FAST), (0.03, FAST)])
def test_the_faster_pair_wins_and_keeps_winning(slow: float, expected: Endpoint) -> None:
    peers = Peers(a=(SLOW, FAST), b=(FAR,), latency=latency(slow=slow), data=True)
    peers.meet()

    peers.run(until=60.0)

    assert uplink(peers) == [expected, expected]


def test_a_pair_that_is_hardly_faster_displaces_nothing() -> None:
    fast, slow = 0.02, 0.02
    peers = Peers(
        a=(FAST, SLOW),
        b=(FAR,),
        latency=lambda d: slow if SLOW in (d.source, d.destination) else fast,
        data=True,
    )
    peers.meet()
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(TRAFFIC, 2.0)
    peers.run(until=SETTLED)
    assert uplink(peers) == [FAST, FAST]

    slow = 0.018  # 4 ms of 40 ms round trip: less than 20 % and less than 5 ms
    peers.run(until=SETTLED + 120.0)
    assert uplink(peers) == [FAST, FAST]

    slow = 0.015  # 10 ms of 40 ms: more than both
    peers.run(until=SETTLED + 240.0)
    assert uplink(peers) == [SLOW, SLOW]


# Evidence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", ["a", "b"])
@pytest.mark.parametrize("minutes", [1, 5])
def test_the_death_of_the_far_agent_moves_nothing_while_its_kernel_lives(
    silent: str, minutes: int
) -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    dead, alive = (peers.a, peers.b) if silent == "a" else (peers.b, peers.a)
    events = len(alive.host.events)

    dead.sidecar.agent_alive = False
    peers.run(until=SETTLED + minutes * 60.0)

    assert alive.report(peers.network.now).activity is Activity.SILENT
    assert [e for e in alive.host.events[events:] if isinstance(e, PathSelected | PathLost)] == []
    dead.sidecar.agent_alive = True
    peers.run(until=SETTLED + minutes * 60.0 + 40.0)
    assert alive.report(peers.network.now).activity is Activity.CONNECTED
    assert uplink(peers) == [FAST, FAST]
    for node, sender in ((peers.a, peers.b), (peers.b, peers.a)):
        numbers = [number for _, number in node.wireguard.received]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= sender.wireguard.sent - 5


def test_a_firewall_that_begins_to_eat_stun_moves_nothing() -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)

    peers.network.block(lambda d: on_fast(d) and is_stun(d.payload))
    peers.run(until=SETTLED + 120.0)

    assert uplink(peers) == [FAST, FAST]
    # Each sign of life by the other uplink gives the silent one a fair chance for a moment.
    seen: list[Activity] = []
    for second in range(20):
        peers.run(until=SETTLED + 120.0 + second)
        seen += [node.report(peers.network.now).activity for node in (peers.a, peers.b)]
    assert set(seen) <= {Activity.SILENT, Activity.CONNECTED}
    assert seen.count(Activity.SILENT) > len(seen) / 2
    for node in (peers.a, peers.b):
        assert len(node.host.events_of(PathSelected)) == 1


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
    peers.run(until=SETTLED + 1200.0)
    assert uplink(peers) == [FAST, FAST]


def test_the_only_pair_is_never_vetoed() -> None:
    peers = Peers(data=True)
    peers.meet()
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(TRAFFIC, 2.0)
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
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(TRAFFIC, 2.0)

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


@pytest.mark.parametrize("restarted", ["a", "b"])
@pytest.mark.parametrize("down", [0.5, 120.0])
def test_an_agent_that_is_restarted_with_nothing_left_finds_the_same_pair(
    restarted: str, down: float
) -> None:
    peers = two_uplinks(traffic=0.1)
    peers.run(until=SETTLED)
    # Some renominations, so that the numbers of the old agent are behind the new one's back.
    lift = peers.network.block(on_fast)
    peers.run(until=SETTLED + 10.0)
    lift()
    peers.run(until=SETTLED + 60.0)
    assert uplink(peers) == [FAST, FAST]
    node, other = (peers.a, peers.b) if restarted == "a" else (peers.b, peers.a)
    events = len(other.host.events)

    node.sidecar.agent_alive = False
    peers.run(until=SETTLED + 60.0 + down)
    peers.restart(node)
    peers.introduce(node, other)
    peers.run(until=SETTLED + 60.0 + down + 10.0)

    assert uplink(peers) == [FAST, FAST]
    assert [e for e in other.host.events[events:] if isinstance(e, PathSelected | PathLost)] == []
    for one, sender in ((peers.a, peers.b), (peers.b, peers.a)):
        numbers = [n for at, n in one.wireguard.received if at >= SETTLED + 60.0]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[-1] >= sender.wireguard.sent - 2


@pytest.mark.parametrize("restarted", ["a", "b"])
@pytest.mark.parametrize("down", [1.5, 3.0, 4.9, 20.0])
def test_an_agent_that_is_back_is_not_taken_for_silent_any_longer(
    restarted: str, down: float
) -> None:
    peers = Peers(a=(FAST,), b=(FAR,), latency=latency(), data=True)
    peers.meet()
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(TRAFFIC, 2.0)
    peers.run(until=SETTLED)
    node, other = (peers.a, peers.b) if restarted == "a" else (peers.b, peers.a)

    node.sidecar.agent_alive = False
    peers.run(until=SETTLED + down)
    peers.restart(node)
    peers.introduce(node, other)
    peers.run(until=SETTLED + down + 0.5)

    assert other.report(peers.network.now).activity is Activity.CONNECTED
    assert node.report(peers.network.now).activity is Activity.CONNECTED


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


# Roaming -------------------------------------------------------------------------------------


def test_data_from_a_rebound_mapping_is_followed() -> None:
    nat = Nat("198.51.100.2")
    peers = Peers(None, nat, data=True)
    peers.meet()
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(TRAFFIC, 2.0)
    peers.run(until=SETTLED)

    # Nobody's agent is told; B's kernel goes on sending, from another mapping.
    nat.rebind(ip_address("198.51.100.77"))
    peers.run(until=SETTLED + 1.5)

    path = peers.a.path(peers.network.now)
    assert path is not None
    assert str(path.remote.endpoint.ip) == "198.51.100.77"
    peers.run(until=SETTLED + 60.0)
    for node in (peers.a, peers.b):
        assert node.host.events_of(PathLost) == []
        assert node.host.events_of(PathReasserted) == []
        assert longest_gap(node, SETTLED, SETTLED + 60.0) < 0.2
    remotes = [e.path.remote.endpoint for e in peers.a.host.events_of(PathSelected)]
    assert len(remotes) == len(set(remotes)) == 2
    peers.introduce(peers.a, peers.b)
    assert [path and path.kind for path in peers.paths] == [CandidateType.SERVER_REFLEXIVE] * 2


def test_data_to_an_address_that_answers_no_check_is_called_back() -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    nowhere = endpoint("203.0.113.99")
    peers.b.wireguard.send_data_every(float("inf"), SETTLED)
    peers.run(until=SETTLED + 0.1)

    peers.a.wireguard.endpoint = nowhere
    peers.run(until=SETTLED + 3.0)

    (event,) = peers.a.host.events_of(PathReasserted)
    assert event.disputed == nowhere
    assert event.path == peers.a.path(peers.network.now)
    assert peers.a.wireguard.endpoint == FAR


@pytest.mark.parametrize("ip", ["127.0.0.1", "224.0.0.1"])
def test_data_to_an_address_that_no_peer_can_have_is_called_back_unasked(ip: str) -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)
    peers.b.wireguard.send_data_every(float("inf"), SETTLED)
    peers.run(until=SETTLED + 0.1)

    peers.a.wireguard.endpoint = endpoint(ip)
    peers.run(until=SETTLED + 1.1)

    assert len(peers.a.host.events_of(PathReasserted)) == 1
    assert all(
        s.datagram.destination.ip != ip_address(ip) or not is_stun(s.datagram.payload)
        for s in peers.network.sent
    )
