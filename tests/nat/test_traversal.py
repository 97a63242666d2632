"""Two traversals in a simulated internet: every kind of NAT, time, loss, demultiplexing, pace."""

from collections.abc import Callable
from ipaddress import IPv4Network, ip_address
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.candidate import CandidateType, local_candidate
from nat.gathering import HostAddress
from nat.machine import Datagram
from nat.pacer import BURST, RATE
from nat.path.credentials import IceCredentials, Role
from nat.path.events import (
    Activity,
    CandidatesChanged,
    LossReason,
    PathLost,
    PathSelected,
    PeerId,
)
from nat.stun.message import MessageClass, binding_indication, parse
from nat.traversal import Traversal
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.network import Host, endpoint
from tests.support.peers import (
    MEETING,
    STUN_SERVER,
    A,
    B,
    Node,
    Peers,
    credentials_of,
    direct_path_possible,
    expected_kind,
)
from tests.support.scripted import BASE, REMOTE, ScriptedPeer

LATENCY = 0.02
RTT = 2 * LATENCY
NATS = ("198.51.100.1", "198.51.100.2")


def kinds() -> dict[str, Callable[[str], Nat | None]]:
    """Every mapping of RFC 4787 with every filtering, and what is not a NAT."""
    known: dict[str, Callable[[str], Nat | None]] = {
        "open": lambda ip: None,
        "one-to-one": lambda ip: Nat(ip, Mapping.ONE_TO_ONE, Filtering.ENDPOINT_INDEPENDENT),
    }
    for filtering in (Filtering.ADDRESS_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT):
        known[f"firewall/{filtering.value}"] = _kind(Mapping.NONE, filtering)
    for mapping in (
        Mapping.ENDPOINT_INDEPENDENT,
        Mapping.ADDRESS_DEPENDENT,
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
    ):
        for filtering in Filtering:
            known[f"{mapping.value}/{filtering.value}"] = _kind(mapping, filtering)
    return known


def _kind(mapping: Mapping, filtering: Filtering) -> Callable[[str], Nat | None]:
    return lambda ip: Nat(ip, mapping, filtering)


KINDS = kinds()
EVERY_CELL = pytest.mark.parametrize(
    ("kind_a", "kind_b"), list(product(KINDS, KINDS)), ids=lambda kind: str(kind)
)


def peers_behind(kind_a: str, kind_b: str) -> tuple[Peers, Nat | None, Nat | None]:
    nat_a, nat_b = KINDS[kind_a](NATS[0]), KINDS[kind_b](NATS[1])
    return Peers(nat_a, nat_b, latency=LATENCY), nat_a, nat_b


def assert_both_on(peers: Peers, kind: CandidateType | None) -> None:
    """Both sides hold the expected kind of path, and each other's ends of one and the same pair."""
    path_a, path_b = peers.paths
    assert [path and path.kind for path in (path_a, path_b)] == [kind, kind]
    if path_a is not None and path_b is not None:
        assert path_a.local.endpoint == path_b.remote.endpoint
        assert path_b.local.endpoint == path_a.remote.endpoint


# The grid ------------------------------------------------------------------------------------


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


# One LAN, hairpinning ------------------------------------------------------------------------


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


# Time ----------------------------------------------------------------------------------------


def test_a_path_that_appears_after_two_hours_is_found_within_30_seconds() -> None:
    peers = Peers()
    lift = peers.network.block(lambda d: STUN_SERVER not in (d.source, d.destination))
    peers.meet()

    peers.run(until=7200.0)
    assert peers.paths == (None, None)
    lift()
    peers.run(until=7230.0)

    assert_both_on(peers, CandidateType.HOST)


def test_an_idle_peer_costs_eight_packets_a_minute_at_most() -> None:
    """Both directions; with WireGuard's keepalives (6.07) that stays under 15."""
    bases = (endpoint("192.0.2.10"), endpoint("192.0.2.11"), endpoint("192.0.2.12"))
    peers = Peers(a=bases)
    peers.meet()
    peers.run(until=120.0)

    for minute in range(2, 32):
        peers.run(until=60.0 * minute + 60.0)
        between = [
            sent
            for sent in peers.network.sent
            if sent.at >= 60.0 * minute
            and sent.datagram.destination != STUN_SERVER
            and sent.datagram.source != STUN_SERVER
        ]
        assert len(between) <= 8

    between = [
        sent
        for sent in peers.network.sent
        if 120.0 <= sent.at < 120.0 + 30 * 60.0
        and STUN_SERVER not in (sent.datagram.source, sent.datagram.destination)
    ]
    # Each minute one exchange of the selected pair and two of the others.
    assert len(between) == 30 * (2 + 2 * 2)


def test_the_controlled_side_of_an_idle_peer_only_answers() -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=1800.0)

    requests = [
        sent.host
        for sent in peers.network.sent
        if sent.at > 120.0
        and STUN_SERVER not in (sent.datagram.source, sent.datagram.destination)
        and parse(sent.datagram.payload).message_class is MessageClass.REQUEST
    ]

    assert requests == [peers.a.host] * 28


def test_the_controlled_side_takes_over_when_the_controlling_agent_dies() -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=120.0)

    peers.a.host.online = False
    peers.run(until=300.0)

    assert peers.b.report(300.0).activity is Activity.LOST


def test_nats_that_show_a_new_address_to_each_answer_do_not_make_agents_chase_each_other() -> None:
    """Two symmetric NATs without filtering: every answer to a check comes from elsewhere."""
    peers, _, _ = peers_behind(
        "address-and-port-dependent/endpoint-independent",
        "address-and-port-dependent/endpoint-independent",
    )
    peers.meet()
    peers.run(until=60.0)

    peers.run(until=660.0)

    between = [
        sent
        for sent in peers.network.sent
        if sent.at >= 60.0 and STUN_SERVER not in (sent.datagram.source, sent.datagram.destination)
    ]
    assert len(between) < 10 * 400
    assert peers.paths == (None, None)


# Roaming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced_after", [0.0, 1.4])
def test_a_new_address_is_used_within_two_seconds(announced_after: float) -> None:
    # B's filter knows only the old address: without an announcement nothing can get in.
    filtered = announced_after > 0.0
    peers = Peers(None, Nat(NATS[1]) if filtered else None)
    peers.meet()
    peers.run(until=10.0)

    roamed = endpoint("192.0.2.99")
    peers.a.host.addresses = (roamed,)
    peers.a.traversal.set_host_addresses([HostAddress(roamed, "wlan0")], 10.0)
    if filtered:
        peers.network.at(10.0 + announced_after, lambda: peers.introduce(peers.b, peers.a))
    peers.run(until=10.2 + announced_after)

    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    assert path_a.base == roamed
    assert path_b.remote.endpoint == roamed


def test_a_rebound_nat_is_followed_when_it_is_noticed() -> None:
    nat = Nat(NATS[0])
    peers = Peers(nat, None)
    peers.meet()
    peers.run(until=10.0)

    nat.rebind(ip_address("198.51.100.77"))
    peers.a.traversal.network_changed(10.0)
    peers.run(until=11.0)

    _, path_b = peers.paths
    assert path_b is not None
    assert str(path_b.remote.endpoint.ip) == "198.51.100.77"


def test_our_own_candidates_are_told_when_the_nat_changes() -> None:
    nat = Nat(NATS[0])
    peers = Peers(nat, None)
    peers.run(until=10.0)

    nat.rebind(ip_address("198.51.100.77"))
    peers.run(until=60.0)

    changes = peers.a.host.events_of(CandidatesChanged)
    assert "198.51.100.77" in {str(c.endpoint.ip) for c in changes[-1].candidates}
    assert changes[-1].candidates == peers.a.candidates


# One machine for all peers ---------------------------------------------------------------------


def lone_traversal(**arguments: object) -> Traversal:
    traversal = Traversal(rng=Random(1), now=0.0, **arguments)  # type: ignore[arg-type]  # by name
    traversal.set_host_addresses([HostAddress(BASE, "eth0")], 0.0)
    return traversal


def test_many_peers_share_one_port_and_do_not_mix() -> None:
    hub = Traversal(rng=Random(1), now=0.0)
    hub_at = endpoint("192.0.2.10")
    hub.set_host_addresses([HostAddress(hub_at, "eth0")], 0.0)
    peers = Peers()
    hub_host = Host(hub, hub_at)
    peers.network._hosts.clear()
    peers.network.add(hub_host)
    spokes = []
    for i in range(20):
        at = endpoint(f"192.0.2.{100 + i}")
        spoke = Traversal(rng=Random(100 + i), now=0.0)
        spoke.set_host_addresses([HostAddress(at, "eth0")], 0.0)
        mine, theirs = (f"hub-{i}", f"hub-{i}-password"), (f"spoke-{i}", f"spoke-{i}-password")
        name = PeerId(f"spoke-{i}")
        hub.add_peer(
            name, credentials=IceCredentials(*mine, *theirs), role=Role.CONTROLLING, now=0.0
        )
        spoke.add_peer(
            PeerId("hub"),
            credentials=IceCredentials(*theirs, *mine),
            role=Role.CONTROLLED,
            now=0.0,
        )
        hub.set_remote_candidates(name, spoke.local_candidates, 0.0)
        spoke.set_remote_candidates(PeerId("hub"), hub.local_candidates, 0.0)
        peers.network.add(Host(spoke, at))
        spokes.append((name, spoke, at))

    peers.run(until=3.0)

    for name, spoke, at in spokes:
        there, back = hub.report(name, 3.0).path, spoke.report(PeerId("hub"), 3.0).path
        assert there is not None
        assert back is not None
        assert there.remote.endpoint == at
        assert back.remote.endpoint == hub_at
    assert hub.counters == {}


def test_what_is_for_nobody_is_dropped_and_counted_by_reason() -> None:
    traversal = lone_traversal(refused=[IPv4Network("100.64.0.0/10")])
    check = ScriptedPeer().take()[0]
    answer = ScriptedPeer(Role.CONTROLLED).answer(check)
    for payload in (b"", b"\x00" * 20, b"\x04" * 64):
        traversal.receive_datagram(Datagram(STUN_SERVER, BASE, payload), 0.0)
    traversal.receive_datagram(Datagram(STUN_SERVER, BASE, check.payload), 0.0)
    traversal.receive_datagram(Datagram(STUN_SERVER, BASE, answer.payload), 0.0)
    traversal.receive_datagram(Datagram(STUN_SERVER, BASE, binding_indication(bytes(12))), 0.0)
    traversal.receive_datagram(Datagram(endpoint("100.64.0.7"), BASE, check.payload), 0.0)

    assert traversal.datagrams_to_send() == []
    assert traversal.counters == {
        "malformed": 3,
        "check of an unknown peer": 1,
        "answer to no request in flight": 2,
        "from a refused network": 1,
    }


def test_the_overlays_own_prefix_is_never_used() -> None:
    overlay = endpoint("100.64.0.7")
    traversal = lone_traversal(refused=[IPv4Network("100.64.0.0/10")])
    traversal.set_host_addresses([HostAddress(BASE, "eth0"), HostAddress(overlay, "kbwg0")], 0.0)
    traversal.add_peer(
        B, credentials=credentials_of(Role.CONTROLLING), role=Role.CONTROLLING, now=0.0
    )
    inside = local_candidate(CandidateType.HOST, overlay, overlay)

    traversal.set_remote_candidates(B, [inside], 0.0)

    assert traversal.datagrams_to_send() == []
    assert traversal.report(B, 0.0).activity is Activity.WAITING
    assert [c.endpoint for c in traversal.local_candidates] == [BASE]


def test_a_removed_peer_is_not_answered_and_its_path_is_lost() -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=10.0)

    peers.a.traversal.remove_peer(B, 10.0)
    peers.run(until=20.0)

    lost = peers.a.host.events_of(PathLost)
    assert [event.reason for event in lost] == [LossReason.PEER_GONE]
    assert peers.network.sent_by(peers.a.host, since=10.001) == [
        sent
        for sent in peers.network.sent_by(peers.a.host, since=10.001)
        if sent.datagram.destination == STUN_SERVER
    ]
    with pytest.raises(KeyError):
        peers.a.traversal.report(B, 20.0)


def test_a_peer_or_a_ufrag_is_added_once() -> None:
    traversal = lone_traversal()
    credentials = credentials_of(Role.CONTROLLING)
    traversal.add_peer(B, credentials=credentials, role=Role.CONTROLLING, now=0.0)

    with pytest.raises(ValueError, match="there already"):
        traversal.add_peer(B, credentials=credentials, role=Role.CONTROLLING, now=0.0)
    with pytest.raises(ValueError, match="there already"):
        traversal.add_peer(A, credentials=credentials, role=Role.CONTROLLING, now=0.0)


@given(st.lists(st.tuples(st.binary(max_size=120), st.integers(1, 3)), max_size=5))
@settings(max_examples=50)
def test_any_datagrams_from_anywhere_change_nothing(datagrams: list[tuple[bytes, int]]) -> None:
    peers = Peers()
    peers.meet()
    peers.run(until=3.0)
    before = peers.a.report(3.0), peers.a.traversal.next_timeout()

    for payload, last in datagrams:
        source = endpoint(f"203.0.113.{last}", 3478)
        peers.a.traversal.receive_datagram(Datagram(source, BASE, payload), 3.0)

    assert (peers.a.report(3.0), peers.a.traversal.next_timeout()) == before
    assert peers.a.traversal.datagrams_to_send() == []


# Pace ----------------------------------------------------------------------------------------


def crowd(traversal: Traversal, peers: int, candidates: int) -> None:
    """Add many peers that never answer, each at addresses of its own."""
    for i in range(peers):
        name = PeerId(f"silent-{i}")
        traversal.add_peer(
            name,
            credentials=IceCredentials(f"l{i}", "p", f"r{i}", "p"),
            role=Role.CONTROLLING,
            now=0.0,
        )
        at = [endpoint(f"203.0.{i}.{j + 1}") for j in range(candidates)]
        announced = [local_candidate(CandidateType.HOST, e, e) for e in at]
        traversal.set_remote_candidates(name, announced, 0.0)


def test_no_more_than_200_datagrams_leave_in_any_second() -> None:
    traversal = lone_traversal()
    crowd(traversal, peers=60, candidates=10)
    times: list[float] = [0.0] * len(traversal.datagrams_to_send())

    now = 0.0
    while (due := traversal.next_timeout()) is not None and due < 10.0:
        now = max(now, due)
        traversal.handle_timeout(now)
        times += [now] * len(traversal.datagrams_to_send())

    assert len(times) > 1000
    for at in times[:: len(times) // 50]:
        assert len([t for t in times if at <= t < at + 1.0]) <= RATE + BURST


def test_a_selected_pair_is_not_starved_by_hunting() -> None:
    peers = Peers()
    peers.meet()
    crowd(peers.a.traversal, peers=60, candidates=10)

    peers.run(until=30.0)

    assert peers.a.host.events_of(PathLost) == []
    assert peers.b.host.events_of(PathLost) == []
    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    assert len(peers.a.host.events_of(PathSelected)) == 1


def test_a_victim_that_many_members_name_gets_only_a_few_datagrams() -> None:
    traversal = lone_traversal()
    for i in range(20):
        name = PeerId(f"member-{i}")
        traversal.add_peer(
            name,
            credentials=IceCredentials(f"l{i}", "p", f"r{i}", "p"),
            role=Role.CONTROLLING,
            now=0.0,
        )
        victims = [endpoint("203.0.113.9", 1000 + 16 * i + j) for j in range(16)]
        announced = [local_candidate(CandidateType.HOST, e, e) for e in victims]
        traversal.set_remote_candidates(name, announced, 0.0)
    sent = len(traversal.datagrams_to_send())

    now = 0.0
    while (due := traversal.next_timeout()) is not None and due < 60.0:
        now = max(now, due)
        traversal.handle_timeout(now)
        sent += len(traversal.datagrams_to_send())

    assert sent <= 60 + 5 * 60
    assert traversal.counters["sent to strangers too often"] > 1000


def test_the_candidates_of_a_peer_are_paired_as_soon_as_ours_are_known() -> None:
    traversal = Traversal(rng=Random(1), now=0.0)
    traversal.add_peer(
        B, credentials=credentials_of(Role.CONTROLLING), role=Role.CONTROLLING, now=0.0
    )
    traversal.set_remote_candidates(B, REMOTE, 0.0)
    assert traversal.datagrams_to_send() == []

    traversal.set_host_addresses([HostAddress(BASE, "eth0")], 1.0)

    assert [d.destination for d in traversal.datagrams_to_send()] == [
        candidate.endpoint for candidate in REMOTE
    ]
