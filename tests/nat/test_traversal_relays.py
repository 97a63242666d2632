"""Two traversals with TURN servers between them: relayed paths, their rise, their fall, their end."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from nat.candidate import CandidateType
from nat.machine import Datagram
from nat.path.events import LossReason, Path, PathLost, PathSelected
from nat.turn.events import Trouble, TurnServerChanged
from nat.turn.server import TurnServer, TurnTransport
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.peers import MEETING, Node, Peers
from tests.support.relays import turn_server

NEAR, FAR = "203.0.113.50", "203.0.113.60"
NATS = ("198.51.100.1", "198.51.100.2")
UDP, TCP, TLS = (turn_server(NEAR, transport) for transport in TurnTransport)
LATENCY = 0.02
TRAFFIC = 0.02
"""Seconds between data packets."""

RELAY, PORT_RESTRICTED = CandidateType.RELAYED, Filtering.ADDRESS_AND_PORT_DEPENDENT

KINDS: dict[str, Callable[[str], Nat | None]] = {
    "open": lambda ip: None,
    "cone": lambda ip: Nat(ip, Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT),
    "port-restricted": lambda ip: Nat(ip, Mapping.ENDPOINT_INDEPENDENT, PORT_RESTRICTED),
    "symmetric": lambda ip: Nat(ip, Mapping.ADDRESS_AND_PORT_DEPENDENT, PORT_RESTRICTED),
    "firewall": lambda ip: Nat(ip, Mapping.NONE, PORT_RESTRICTED),
}


def peers(
    kind_a: str,
    kind_b: str,
    *,
    a_turn: tuple[TurnServer, ...] = (UDP,),
    b_turn: tuple[TurnServer, ...] = (),
    latency: float | Callable[[Datagram], float] = LATENCY,
    seed: int = 1,
) -> Peers:
    subject = Peers(
        KINDS[kind_a](NATS[0]),
        KINDS[kind_b](NATS[1]),
        turn=(NEAR, FAR),
        a_turn=a_turn,
        b_turn=b_turn,
        data=True,
        latency=latency,
        seed=seed,
    )
    subject.meet()
    return subject


def send_data(subject: Peers, at: float = MEETING, interval: float = TRAFFIC) -> None:
    for node in (subject.a, subject.b):
        node.wireguard.send_data_every(interval, at)


def block_udp(subject: Peers, node: Node) -> Callable[[], None]:
    """Let no datagram of a node through."""
    ips = {address.ip for address in node.host.addresses}
    if node.host.nat is not None:
        ips.add(node.host.nat.public_ip)
    return subject.network.block(lambda d: d.source.ip in ips or d.destination.ip in ips)


def block_direct(subject: Peers) -> Callable[[], None]:
    """Let only datagrams to and from servers through."""
    servers = {"203.0.113.1", NEAR, FAR}
    return subject.network.block(lambda d: not {str(d.source.ip), str(d.destination.ip)} & servers)


def kinds(subject: Peers) -> list[CandidateType | None]:
    return [None if path is None else path.kind for path in subject.paths]


def both(subject: Peers) -> tuple[Path, Path]:
    path_a, path_b = subject.paths
    assert path_a is not None
    assert path_b is not None
    return path_a, path_b


def hops(path: Path) -> int:
    return [path.local.type, path.remote.type].count(RELAY)


def lost(subject: Peers) -> int:
    """Data packets that were sent and have not come in."""
    a, b = subject.a.wireguard, subject.b.wireguard
    return sum(
        sender.sent - len({number for _, number in receiver.received})
        for sender, receiver in ((a, b), (b, a))
    )


def longest_gap(node: Node, since: float, until: float) -> float:
    times = [at for at, _ in node.wireguard.received if since <= at <= until]
    return max(after - before for before, after in pairwise([since, *times, until]))


def stop_data(subject: Peers) -> None:
    now = subject.network.now
    for node in (subject.a, subject.b):
        node.wireguard.send_data_every(float("inf"), now)
    subject.run(now + 1.0)


# Which pairs are relayed ---------------------------------------------------------------------


@pytest.mark.parametrize("transport", [TCP, TLS], ids=["TCP", "TLS"])
@pytest.mark.parametrize("kind", KINDS)
def test_who_has_no_udp_is_relayed_to_anybody_within_a_second(
    kind: str, transport: TurnServer
) -> None:
    subject = peers("port-restricted", kind, a_turn=(UDP, transport))
    block_udp(subject, subject.a)
    send_data(subject)

    subject.run(MEETING + 5.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert [hops(path) for path in both(subject)] == [1, 1]
    for node in (subject.a, subject.b):
        first = node.wireguard.received[0][0]
        assert first - MEETING <= 1.0, "relayed traffic within a second of the announcement"


def test_two_who_have_no_udp_are_relayed_twice() -> None:
    subject = peers("cone", "cone", a_turn=(TLS,), b_turn=(turn_server(FAR, TurnTransport.TCP),))
    block_udp(subject, subject.a)
    block_udp(subject, subject.b)
    send_data(subject)

    subject.run(MEETING + 5.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert [hops(path) for path in both(subject)] == [2, 2]
    assert max(n.wireguard.received[0][0] for n in (subject.a, subject.b)) - MEETING <= 1.0


@pytest.mark.parametrize("a_has_it", [True, False])
@pytest.mark.parametrize(
    ("kind_a", "kind_b"),
    [
        ("symmetric", "port-restricted"),
        ("port-restricted", "symmetric"),
        ("symmetric", "symmetric"),
    ],
)
def test_who_cannot_be_direct_is_relayed_once(kind_a: str, kind_b: str, a_has_it: bool) -> None:
    turn = (UDP,)
    subject = peers(
        kind_a, kind_b, a_turn=turn if a_has_it else (), b_turn=() if a_has_it else turn
    )
    send_data(subject)

    subject.run(MEETING + 5.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert [hops(path) for path in both(subject)] == [1, 1]
    for node in (subject.a, subject.b):
        assert node.wireguard.received[0][0] - MEETING <= 1.0


@pytest.mark.parametrize("kind_b", ["open", "cone", "port-restricted", "firewall"])
def test_who_can_be_direct_is_direct_whatever_relays_there_are(kind_b: str) -> None:
    subject = peers("port-restricted", kind_b, a_turn=(UDP,), b_turn=(UDP,))
    send_data(subject)

    subject.run(MEETING + 10.0)

    assert RELAY not in kinds(subject)
    assert [hops(path) for path in both(subject)] == [0, 0]
    assert lost(subject) <= 4


def test_one_relay_is_preferred_to_two() -> None:
    subject = peers("symmetric", "symmetric", a_turn=(UDP,), b_turn=(turn_server(FAR),))

    subject.run(MEETING + 10.0)

    assert [hops(path) for path in both(subject)] == [1, 1]


def test_relayed_candidates_are_announced_last_and_kept_apart_from_the_rest() -> None:
    subject = peers("port-restricted", "open")

    subject.run(MEETING)

    last = subject.a.candidates[-1]
    assert last.type is RELAY
    assert last.base == last.endpoint
    assert str(last.endpoint.ip) == NEAR
    assert all(c.type is not RELAY for c in subject.a.candidates[:-1])


def test_both_sides_know_whose_data_goes_where() -> None:
    subject = peers("symmetric", "port-restricted")

    subject.run(MEETING + 3.0)

    path_a, path_b = both(subject)
    assert path_a.data_endpoint.ip.is_loopback
    assert path_a.base == path_a.local.endpoint == path_b.remote.endpoint == path_b.data_endpoint
    assert subject.a.wireguard.endpoint == path_a.data_endpoint
    assert subject.b.wireguard.endpoint == path_b.data_endpoint


def test_data_takes_a_channel_and_checks_do_before_it_is_bound() -> None:
    subject = peers("symmetric", "port-restricted")
    send_data(subject)

    subject.run(MEETING + 10.0)

    server = subject.turn[NEAR].server
    stop_data(subject)
    assert lost(subject) == 0
    assert server.channel_frames >= 450
    assert 0 < server.indications < 40


def test_a_relay_does_not_try_private_addresses() -> None:
    subject = peers("symmetric", "port-restricted")

    subject.run(MEETING + 3.0)

    (allocation,) = subject.turn[NEAR].server.allocations.values()
    assert {str(ip) for ip in allocation.permissions} == {NATS[1]}


def test_a_check_is_not_answered_before_data_would_get_through() -> None:
    subject = peers("symmetric", "port-restricted")
    subject.a.links.plug_delay = 0.7

    subject.run(MEETING + 0.7)
    assert kinds(subject) == [None, None]

    subject.run(MEETING + 3.0)
    assert kinds(subject) == [RELAY, RELAY]


# Relay first, then direct --------------------------------------------------------------------


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
    subject = peers(
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
    send_data(subject, at=MEETING + 2.0, interval=0.005)
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
    subject = peers("port-restricted", "port-restricted")
    lift = block_direct(subject)
    send_data(subject, interval=5.0)
    subject.run(MEETING + 900.0)
    assert kinds(subject) == [RELAY, RELAY]

    lift()
    subject.run(MEETING + 900.0 + 30.0)

    assert RELAY not in kinds(subject)


def test_a_direct_path_that_dies_is_replaced_by_the_relay() -> None:
    subject = peers("port-restricted", "port-restricted")
    send_data(subject)
    subject.run(MEETING + 20.0)
    assert RELAY not in kinds(subject)

    cut = subject.network.now
    block_direct(subject)
    subject.run(cut + 10.0)

    assert kinds(subject) == [RELAY, RELAY]
    for node in (subject.a, subject.b):
        assert longest_gap(node, cut, cut + 10.0) <= 3.0
        assert node.host.events_of(PathLost) == []


# Servers -------------------------------------------------------------------------------------


def by_distance(datagram: Datagram) -> float:
    far = FAR in (str(datagram.source.ip), str(datagram.destination.ip))
    return 0.08 if far else LATENCY


def test_the_nearest_server_carries_the_data_and_another_stands_by() -> None:
    subject = peers(
        "symmetric", "port-restricted", a_turn=(turn_server(FAR), UDP), latency=by_distance
    )
    send_data(subject)

    subject.run(MEETING + 10.0)

    path_a, _ = both(subject)
    assert str(path_a.base.ip) == NEAR
    relayed = [str(c.endpoint.ip) for c in subject.a.candidates if c.type is RELAY]
    assert relayed == [NEAR, FAR]


def test_a_server_that_dies_is_replaced_by_the_one_that_stands_by() -> None:
    subject = peers(
        "symmetric", "port-restricted", a_turn=(UDP, turn_server(FAR)), latency=by_distance
    )
    send_data(subject)
    subject.run(MEETING + 20.0)

    died = subject.network.now
    subject.turn[NEAR].dead = True
    subject.run(died + 60.0)

    path_a, _ = both(subject)
    assert str(path_a.base.ip) == FAR
    for node in (subject.a, subject.b):
        assert longest_gap(node, died, died + 60.0) <= 3.0
        assert node.host.events_of(PathLost) == []
    changes = [event.trouble for event in subject.a.host.events_of(TurnServerChanged)]
    assert changes == [None, None, Trouble.UNREACHABLE]


def test_the_only_server_dies_and_comes_back() -> None:
    subject = peers("symmetric", "port-restricted")
    send_data(subject)
    subject.run(MEETING + 20.0)
    subject.turn[NEAR].dead = True
    subject.run(100.0)
    assert kinds(subject) == [None, None]
    assert [event.reason for event in subject.a.host.events_of(PathLost)]

    subject.turn[NEAR].dead = False
    back = subject.network.now
    subject.run(back + 75.0)
    subject.introduce(subject.b, subject.a)
    subject.run(back + 77.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert subject.b.wireguard.received[-1][0] > back + 76.0


def test_a_server_that_restarts_costs_a_moment() -> None:
    subject = peers("symmetric", "port-restricted")
    send_data(subject)
    subject.run(MEETING + 20.0)

    subject.turn[NEAR].server.restart()
    subject.run(MEETING + 320.0)
    # The new relayed address is announced.
    subject.introduce(subject.b, subject.a)
    subject.run(MEETING + 322.0)

    assert kinds(subject) == [RELAY, RELAY]
    assert len(subject.turn[NEAR].server.allocations) == 1


def test_udp_is_preferred_to_tcp_and_tcp_to_tls() -> None:
    subject = peers("symmetric", "open", a_turn=(TLS, TCP, UDP))

    subject.run(MEETING + 3.0)

    assert subject.a.links.connected == [UDP]
    assert set(subject.a.links.requested) == {TLS, TCP, UDP}
    assert len(subject.turn[NEAR].server.allocations) == 1


def test_tcp_takes_over_when_udp_dies_and_gives_back_when_it_lives() -> None:
    subject = peers("symmetric", "port-restricted", a_turn=(TCP, UDP))
    send_data(subject)
    subject.run(MEETING + 20.0)
    lift = block_udp(subject, subject.a)

    subject.run(MEETING + 90.0)
    assert subject.a.links.connected == [TCP]
    subject.introduce(subject.b, subject.a)
    subject.run(MEETING + 92.0)
    assert kinds(subject) == [RELAY, RELAY]

    lift()
    subject.run(MEETING + 800.0)
    assert subject.a.links.connected == [UDP]


def test_servers_that_are_not_named_any_more_are_released() -> None:
    subject = peers("symmetric", "port-restricted")
    subject.run(MEETING + 3.0)

    subject.a.traversal.set_turn_servers((), subject.network.now)
    subject.run(MEETING + 4.0)

    assert subject.turn[NEAR].server.allocations == {}
    assert subject.a.links.connected == []
    assert all(c.type is not RELAY for c in subject.a.candidates)
    (event,) = subject.a.host.events_of(PathLost)
    assert event.reason is LossReason.ADDRESS_GONE


def test_one_allocation_serves_all_peers_and_channels_are_let_go_with_them() -> None:
    subject = peers("symmetric", "port-restricted")
    subject.run(MEETING + 3.0)
    (allocation,) = subject.turn[NEAR].server.allocations.values()
    assert len(allocation.channels) == 1
    assert len(subject.a.links.plugs) == 1

    subject.a.traversal.remove_peer(subject.a.other, subject.network.now)
    subject.run(MEETING + 700.0)

    (allocation,) = subject.turn[NEAR].server.allocations.values()
    assert allocation.channels == {}
    assert allocation.permissions == {}
    assert subject.a.links.plugs == {}


# What it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [(UDP,), (UDP, turn_server(FAR))], ids=["one", "two servers"])
@pytest.mark.parametrize(
    ("kind_a", "kind_b"), [("symmetric", "port-restricted"), ("port-restricted", "open")]
)
def test_an_idle_peer_costs_at_most_15_packets_a_minute_whatever_relays_there_are(
    kind_a: str, kind_b: str, turns: tuple[TurnServer, ...]
) -> None:
    subject = peers(kind_a, kind_b, a_turn=turns, b_turn=turns)
    subject.run(300.0)
    counted: list[Datagram] = []

    def count(datagram: Datagram) -> bool:
        if 3478 not in (datagram.source.port, datagram.destination.port):
            counted.append(datagram)
        return False

    subject.network.block(count)
    subject.run(300.0 + 600.0)

    assert len(counted) / 10 <= 15, "both directions, STUN and TURN servers apart"
