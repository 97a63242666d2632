"""Gateways that accept what is sent to themselves, and what else makes hard cases hard."""

from itertools import pairwise

import pytest

from nat.candidate import CandidateType
from nat.path.openers import MAX_HOLD, PAUSE
from tests.support.nat import STRAY_TIMEOUT, Filtering, Mapping, Nat
from tests.support.network import endpoint
from tests.support.peers import MEETING, TWO_SERVERS, Peers, credentials_of, direct_path_possible

LATENCY = 0.02
CHAT = 0.4
"""Seconds from a post to its reading."""

KNOWN = 1.0
"""Seconds after its post from which the side that comes later counts as known."""

PROMPT = MEETING + CHAT + 2 * LATENCY + 0.1
"""One round trip and 100 ms after the announcement is read."""


def accepting(public_ip: str = "198.51.100.1") -> Nat:
    return Nat(public_ip, accepts_input=True)


def behind(a: Nat | None, b: Nat | None, *, hold: bool = True) -> Peers:
    """A has been there; B comes, reads of A, posts, and is read of."""
    peers = Peers(a, b, latency=LATENCY, servers=TWO_SERVERS)

    def arrive() -> None:
        if hold:
            peers.b.traversal.add_peer(
                peers.b.other,
                credentials=credentials_of(peers.b.role),
                role=peers.b.role,
                now=peers.network.now,
            )
            peers.b.traversal.hold(peers.b.other, MEETING + KNOWN, peers.network.now)
        peers.introduce(peers.b, peers.a)

    peers.network.at(MEETING, arrive)
    peers.network.at(MEETING + CHAT, lambda: peers.introduce(peers.a, peers.b))
    return peers


def connected(peers: Peers) -> list[bool]:
    return [path is not None for path in peers.paths]


# Gateways that accept ------------------------------------------------------------------------


@pytest.mark.parametrize("b_accepts", [False, True])
def test_who_comes_later_is_not_heard_too_early_by_a_gateway_that_accepts(b_accepts: bool) -> None:
    b = Nat("198.51.100.2", accepts_input=b_accepts)
    peers = behind(accepting(), b)

    peers.run(until=PROMPT + LATENCY)

    assert connected(peers) == [True, True]
    assert {path.kind for path in peers.paths if path} == {CandidateType.SERVER_REFLEXIVE}


def test_without_openers_such_a_gateway_spoils_the_pair() -> None:
    peers = behind(accepting(), Nat("198.51.100.2"), hold=False)

    peers.run(until=MEETING + 10.0)

    assert connected(peers) == [False, False]


def test_what_was_spoilt_heals_after_a_pause_of_both_sides() -> None:
    peers = behind(accepting(), accepting("198.51.100.2"), hold=False)

    peers.run(until=MEETING + 13.0 + PAUSE + 10.0)

    assert connected(peers) == [True, True]
    gateways = {node.host.nat.public_ip for node in (peers.a, peers.b) if node.host.nat}
    sent = peers.network.sent_by(peers.a.host) + peers.network.sent_by(peers.b.host)
    times = sorted(s.at for s in sent if s.datagram.destination.ip in gateways)
    pauses = [after - before for before, after in pairwise(times)]
    assert max(pauses) > STRAY_TIMEOUT


@pytest.mark.parametrize("mapping_a", list(Mapping))
@pytest.mark.parametrize("filtering_a", list(Filtering))
@pytest.mark.parametrize("mapping_b", list(Mapping))
@pytest.mark.parametrize("filtering_b", list(Filtering))
def test_openers_delay_no_other_pair_of_nats(
    mapping_a: Mapping, filtering_a: Filtering, mapping_b: Mapping, filtering_b: Filtering
) -> None:
    a, b = Nat("198.51.100.1", mapping_a, filtering_a), Nat("198.51.100.2", mapping_b, filtering_b)
    peers = behind(a, b)

    # The side that is checked first answers within a round trip; its own check takes half more.
    peers.run(until=PROMPT + LATENCY)

    assert connected(peers) == [direct_path_possible(a, b)] * 2


def test_a_peer_that_never_hears_of_us_gets_checks_after_a_while() -> None:
    nat = Nat("198.51.100.1")
    peers = behind(nat, Nat("198.51.100.2"))
    peers.run(until=MEETING)
    peers.b.traversal.hold(peers.b.other, MEETING + 1000.0, peers.network.now)
    peers.network.block(lambda d: d.source.ip == nat.public_ip)

    peers.run(until=MEETING + MAX_HOLD + 1.0)

    sent = [
        s for s in peers.network.sent_by(peers.b.host) if s.datagram.destination.ip == nat.public_ip
    ]
    checks = [s.at for s in sent if s.datagram.ttl is None]
    assert checks[0] == pytest.approx(MEETING + MAX_HOLD)
    assert {s.datagram.ttl for s in sent if s.at < checks[0]} == {2, 3}


# NATs in a row, hosts side by side -------------------------------------------------------------


def carrier(mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT, *, hairpinning: bool = False) -> Nat:
    return Nat("198.51.100.9", mapping, hairpinning=hairpinning)


def home(outside: str, upstream: Nat) -> Nat:
    return Nat(outside, upstream=upstream)


def test_two_nats_in_a_row_are_opened_by_openers_too() -> None:
    peers = behind(accepting(), home("100.64.0.2", carrier()))

    peers.run(until=PROMPT + LATENCY)

    assert connected(peers) == [True, True]


@pytest.mark.parametrize("hairpinning", [False, True])
def test_two_homes_of_one_carrier_meet_if_it_hairpins(hairpinning: bool) -> None:
    shared = carrier(hairpinning=hairpinning)
    peers = behind(home("100.64.0.2", shared), home("100.64.0.3", shared))

    peers.run(until=MEETING + 10.0)

    assert connected(peers) == [hairpinning] * 2


def test_hosts_with_one_port_behind_one_nat_meet_in_their_lan_and_a_third_outside() -> None:
    nat = Nat("198.51.100.1")
    peers = Peers(
        nat, nat, a=(endpoint("192.168.1.2"),), b=(endpoint("192.168.1.3"),), servers=TWO_SERVERS
    )
    peers.meet()

    peers.run(until=MEETING + 0.2)

    assert {path.kind for path in peers.paths if path} == {CandidateType.HOST}
    mapped = {
        candidate.endpoint
        for node in (peers.a, peers.b)
        for candidate in node.candidates
        if candidate.endpoint.ip == nat.public_ip
    }
    assert len(mapped) >= 2, "each has a mapping of its own"
