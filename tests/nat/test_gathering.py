"""Our own candidates: found fast, kept alive, given up when nobody confirms them."""

from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.candidate import CandidateType
from nat.gathering import MAX_CANDIDATES, SETTLE, Gatherer, HostAddress, MappedEndpoint
from nat.machine import Datagram, Endpoint
from nat.path.events import CandidatesChanged, StunServerChanged
from nat.stun import message as stun
from nat.stun.binding import KEEPALIVE, MAX_REQUESTS, MISSES

BASE = Endpoint(IPv4Address("192.168.1.2"), 20000)
MAPPED = Endpoint(IPv4Address("198.51.100.7"), 42000)
OTHER = Endpoint(IPv4Address("198.51.100.7"), 43000)
ONE = Endpoint(IPv4Address("203.0.113.1"), 3478)
TWO = Endpoint(IPv4Address("203.0.113.2"), 3478)
HOST = HostAddress(BASE, "eth0")


def gatherer(*servers: Endpoint, bases: tuple[HostAddress, ...] = (HOST,)) -> Gatherer:
    subject = Gatherer(rng=Random(1))
    subject.set_bases(bases, 0.0)
    subject.set_servers(servers, 0.0)
    return subject


def answer(request: Datagram, mapped: Endpoint) -> Datagram:
    transaction = stun.parse(request.payload).transaction_id
    return Datagram(request.destination, request.source, stun.success_response(transaction, mapped))


def run(
    subject: Gatherer, servers: dict[Endpoint, Endpoint], start: float, until: float
) -> list[tuple[float, Datagram]]:
    """Let `servers` answer at once with their mapped address; return what was sent when."""
    sent: list[tuple[float, Datagram]] = []
    now = start
    while True:
        for datagram in subject.datagrams_to_send():
            sent.append((now, datagram))
            if datagram.destination in servers:
                reply = answer(datagram, servers[datagram.destination])
                assert subject.wants(reply)
                subject.receive_datagram(reply, now)
        due = subject.next_timeout()
        if due is None or due > until:
            return sent
        now = max(now, due)
        subject.handle_timeout(now)


def events(subject: Gatherer) -> list[object]:
    found: list[object] = []
    while (event := subject.next_event()) is not None:
        found.append(event)
    return found


def kinds(subject: Gatherer) -> list[tuple[str, str]]:
    return [(c.type.value, str(c.endpoint)) for c in subject.candidates]


def test_host_candidates_are_there_at_once() -> None:
    subject = gatherer()

    assert kinds(subject) == [("host", "192.168.1.2:20000")]
    assert subject.next_timeout() is None


def test_a_server_reveals_the_mapped_address() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: MAPPED}, 0.0, 1.0)

    assert kinds(subject) == [
        ("host", "192.168.1.2:20000"),
        ("srflx", "198.51.100.7:42000"),
        ("srflx", "198.51.100.7:20000"),
    ]
    assert not subject.mapping_varies


def test_without_translation_there_is_no_reflexive_candidate() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: BASE}, 0.0, 1.0)

    assert kinds(subject) == [("host", "192.168.1.2:20000")]


def test_two_servers_that_agree_are_one_event() -> None:
    subject = gatherer(ONE, TWO)
    events(subject)
    run(subject, {ONE: MAPPED, TWO: MAPPED}, 0.0, 1.0)

    assert len([e for e in events(subject) if isinstance(e, CandidatesChanged)]) == 1


def test_a_first_answer_waits_for_the_others_only_so_long() -> None:
    subject = gatherer(ONE, TWO)
    requests = subject.datagrams_to_send()
    subject.receive_datagram(answer(requests[0], MAPPED), 0.05)
    assert len(subject.candidates) == 1

    subject.handle_timeout(0.05 + SETTLE)

    assert len(subject.candidates) == 3


def test_servers_that_disagree_show_a_mapping_that_varies() -> None:
    subject = gatherer(ONE, TWO)
    run(subject, {ONE: MAPPED, TWO: OTHER}, 0.0, 1.0)

    assert subject.mapping_varies
    assert {("srflx", "198.51.100.7:42000"), ("srflx", "198.51.100.7:43000")} <= set(kinds(subject))


def test_the_mapping_is_kept_alive_under_thirty_seconds() -> None:
    subject = gatherer(ONE)
    sent = run(subject, {ONE: MAPPED}, 0.0, 300.0)

    pauses = [b - a for (a, _), (b, _) in pairwise(sent)]
    assert all(KEEPALIVE[0] <= pause <= KEEPALIVE[1] for pause in pauses)
    assert len(pauses) >= 11


def test_a_mapping_that_changes_is_announced_anew() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: MAPPED}, 0.0, 1.0)
    events(subject)
    run(subject, {ONE: OTHER}, 1.0, 60.0)

    assert ("srflx", "198.51.100.7:43000") in kinds(subject)
    assert ("srflx", "198.51.100.7:42000") not in kinds(subject)
    assert len(events(subject)) == 1


def test_a_network_change_asks_again_at_once() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: MAPPED}, 0.0, 1.0)

    subject.network_changed(2.0)

    assert [d.destination for d in subject.datagrams_to_send()] == [ONE]


def test_a_lost_first_request_costs_a_tenth_of_a_second() -> None:
    subject = gatherer(ONE)
    subject.datagrams_to_send()

    assert subject.next_timeout() == pytest.approx(0.1)


def test_a_dead_server_is_said_once_and_asked_for_ever() -> None:
    subject = gatherer(ONE)
    sent = run(subject, {}, 0.0, 600.0)

    changes = [e for e in events(subject) if isinstance(e, StunServerChanged)]
    assert changes == [StunServerChanged(ONE, reachable=False)]
    assert len(sent) > 10 * MAX_REQUESTS
    assert max(b - a for (a, _), (b, _) in pairwise(sent)) <= 31.7


def test_a_server_that_returns_is_said_once() -> None:
    subject = gatherer(ONE)
    run(subject, {}, 0.0, 100.0)
    events(subject)
    run(subject, {ONE: MAPPED}, 100.0, 200.0)

    changes = [e for e in events(subject) if isinstance(e, StunServerChanged)]
    assert changes == [StunServerChanged(ONE, reachable=True)]


def test_a_mapping_that_nobody_confirms_is_given_up_after_some_misses() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: MAPPED}, 0.0, 1.0)
    run(subject, {}, 1.0, 40.0)
    assert len(subject.candidates) == 3, f"{MISSES} misses have not passed yet"

    run(subject, {}, 40.0, 200.0)

    assert kinds(subject) == [("host", "192.168.1.2:20000")]


def test_a_mapping_that_another_server_confirms_stays() -> None:
    subject = gatherer(ONE, TWO)
    run(subject, {ONE: MAPPED, TWO: MAPPED}, 0.0, 1.0)
    run(subject, {TWO: MAPPED}, 1.0, 400.0)

    assert ("srflx", "198.51.100.7:42000") in kinds(subject)


def test_each_family_asks_servers_of_its_own() -> None:
    base6 = Endpoint(IPv6Address("2001:db8::2"), 20000)
    server6 = Endpoint(IPv6Address("2001:db8::53"), 3478)
    subject = gatherer(ONE, server6, bases=(HOST, HostAddress(base6, "eth0")))

    pairs = {(d.source, d.destination) for d in subject.datagrams_to_send()}

    assert pairs == {(BASE, ONE), (base6, server6)}


def test_an_advertised_endpoint_is_announced_unmeasured() -> None:
    subject = gatherer()
    subject.set_advertised([MAPPED], 0.0)

    assert kinds(subject)[1] == ("srflx", "198.51.100.7:42000")
    assert subject.candidates[1].base == BASE


def test_an_address_that_goes_takes_its_candidates_along() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: MAPPED}, 0.0, 1.0)

    subject.set_bases((), 2.0)

    assert subject.candidates == ()
    assert subject.datagrams_to_send() == []


def test_the_number_of_candidates_is_bounded() -> None:
    bases = tuple(
        HostAddress(Endpoint(IPv4Address(0xC0A80000 + n), 20000), f"eth{n}") for n in range(100)
    )

    assert len(gatherer(bases=bases).candidates) <= MAX_CANDIDATES


@pytest.mark.parametrize("ip", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_a_server_that_lies_is_not_believed(ip: str) -> None:
    subject = gatherer(ONE)
    (request,) = subject.datagrams_to_send()

    subject.receive_datagram(answer(request, Endpoint(IPv4Address(ip), 9)), 0.01)

    assert [c.type for c in subject.candidates] == [CandidateType.HOST]


def test_an_answer_from_elsewhere_is_not_believed() -> None:
    subject = gatherer(ONE)
    (request,) = subject.datagrams_to_send()
    forged = answer(request, MAPPED)

    for reply in (
        Datagram(TWO, BASE, forged.payload),
        Datagram(ONE, OTHER, forged.payload),
        Datagram(ONE, BASE, stun.success_response(bytes(12), MAPPED)),
    ):
        assert not subject.wants(reply)
        subject.receive_datagram(reply, 0.01)

    assert [c.type for c in subject.candidates] == [CandidateType.HOST]


@given(st.binary(max_size=80))
def test_any_bytes_from_the_server_change_nothing(payload: bytes) -> None:
    subject = gatherer(ONE)
    subject.datagrams_to_send()

    subject.receive_datagram(Datagram(ONE, BASE, payload), 0.01)

    assert [c.type for c in subject.candidates] == [CandidateType.HOST]


def test_a_port_mapping_is_announced_without_any_server_and_before_what_is_measured() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: OTHER}, 0.0, 1.0)

    subject.set_mapped([MappedEndpoint(BASE, MAPPED)], 1.0)

    assert kinds(subject)[1] == ("srflx", "198.51.100.7:42000")
    assert kinds(subject)[2] == ("srflx", "198.51.100.7:43000")
    subject.set_servers((), 2.0)
    assert kinds(subject) == [
        ("host", "192.168.1.2:20000"),
        ("srflx", "198.51.100.7:42000"),
    ]


def test_a_port_mapping_behind_another_nat_comes_last() -> None:
    subject = gatherer(ONE)
    run(subject, {ONE: MAPPED}, 0.0, 1.0)
    inner = Endpoint(IPv4Address("100.64.1.2"), 20000)

    subject.set_mapped([MappedEndpoint(BASE, inner, last_resort=True)], 1.0)

    assert kinds(subject)[-1] == ("srflx", "100.64.1.2:20000")


def test_a_port_mapping_goes_with_its_base() -> None:
    subject = gatherer()
    subject.set_mapped([MappedEndpoint(OTHER, MAPPED)], 0.0)

    assert kinds(subject) == [("host", "192.168.1.2:20000")]


def test_an_advertised_ipv6_endpoint_answers_from_an_ipv6_base() -> None:
    base6 = Endpoint(IPv6Address("2001:db8::2"), 20000)
    given_endpoint = Endpoint(IPv6Address("2001:db8:ffff::1"), 7000)
    subject = gatherer(bases=(HOST, HostAddress(base6, "eth0")))
    subject.set_advertised([given_endpoint], 0.0)

    assert [c.base for c in subject.candidates if c.endpoint == given_endpoint] == [base6]
