"""RFC 5780 against every NAT kind, in virtual time; honest where a server cannot tell."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.machine import Datagram, Endpoint
from nat.stun.behaviour import MAX_REQUESTS, BehaviourDiscovery, BehaviourFound
from nat.stun.nat_behaviour import FilteringBehaviour, MappingBehaviour, NatBehaviour
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.network import Host, SimNetwork, endpoint
from tests.support.stun_server import BehaviourServer, StunServer

PUBLIC = "198.51.100.7"
ONE, OTHER = endpoint("203.0.113.1", 3478), endpoint("203.0.113.2", 3479)
PLAIN_1, PLAIN_2 = endpoint("192.0.2.1", 3478), endpoint("192.0.2.2", 3478)
FIRST, SECOND = endpoint("192.168.1.2", 20001), endpoint("192.168.1.2", 20002)
OUTSIDE = (endpoint("192.0.2.99", 20001), endpoint("192.0.2.99", 20002))

TRANSLATING = [
    Mapping.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT,
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
]


class Site:
    """A discovery behind a NAT, an RFC 5780 server and two plain ones."""

    def __init__(
        self,
        nat: Nat | None,
        *servers: Endpoint,
        ends: tuple[Endpoint, Endpoint] = (FIRST, SECOND),
        server: BehaviourServer | None = None,
        loss: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.server = server or BehaviourServer(ONE, OTHER)
        self.discovery = BehaviourDiscovery(*ends, servers or (ONE,), rng=Random(seed), now=0.0)
        self.host = Host(self.discovery, *ends, nat=nat)
        self.network = SimNetwork(
            self.host,
            Host(self.server, *self.server.endpoints),
            Host(StunServer(), PLAIN_1),
            Host(StunServer(), PLAIN_2),
            loss=loss,
            rng=Random(seed),
        )

    def found(self) -> BehaviourFound:
        self.network.run(60.0)
        (event,) = self.host.events_of(BehaviourFound)
        assert self.discovery.next_timeout() is None, "it ends"
        return event  # type: ignore[no-any-return]

    @property
    def behaviour(self) -> NatBehaviour:
        return self.found().behaviour


@pytest.mark.parametrize("hairpinning", [True, False])
@pytest.mark.parametrize("filtering", list(Filtering))
@pytest.mark.parametrize("mapping", TRANSLATING)
def test_every_nat_is_named_as_it_is(
    mapping: Mapping, filtering: Filtering, hairpinning: bool
) -> None:
    site = Site(Nat(PUBLIC, mapping, filtering, hairpinning=hairpinning))
    found = site.found()

    assert found.behaviour.mapping.value == mapping.value
    assert found.behaviour.filtering.value == filtering.value
    assert str(found.behaviour.public) == PUBLIC
    assert found.behaviour.port_preservation is False
    # A hairpin leads to a mapped endpoint; where the next destination has another one, a strict
    # filter keeps it out on both sides, and nobody can tell that from no hairpin.
    if mapping is Mapping.ENDPOINT_INDEPENDENT or not hairpinning:
        assert found.behaviour.hairpinning is hairpinning


@pytest.mark.parametrize("filtering", list(Filtering))
def test_a_firewall_without_translation_is_named_by_its_filter(filtering: Filtering) -> None:
    behaviour = Site(Nat("192.0.2.254", Mapping.NONE, filtering), ends=OUTSIDE).behaviour

    assert behaviour.mapping is MappingBehaviour.NONE
    assert behaviour.filtering.value == filtering.value
    assert behaviour.hairpinning is None
    assert behaviour.port_preservation is None


def test_a_public_host_is_behind_nothing() -> None:
    behaviour = Site(None, ends=OUTSIDE).behaviour

    assert behaviour.mapping is MappingBehaviour.NONE
    assert behaviour.filtering is FilteringBehaviour.ENDPOINT_INDEPENDENT


def test_one_to_one_translation_keeps_ports_and_filters_nothing() -> None:
    behaviour = Site(Nat(PUBLIC, Mapping.ONE_TO_ONE)).behaviour

    assert behaviour.mapping is MappingBehaviour.ENDPOINT_INDEPENDENT
    assert behaviour.filtering is FilteringBehaviour.ENDPOINT_INDEPENDENT
    assert behaviour.port_preservation is True


def test_both_addresses_of_one_server_in_the_list_spoil_nothing() -> None:
    nat = Nat(PUBLIC, Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)
    behaviour = Site(nat, ONE, Endpoint(OTHER.ip, ONE.port)).behaviour

    assert behaviour.filtering is FilteringBehaviour.ADDRESS_DEPENDENT


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (Mapping.ENDPOINT_INDEPENDENT, MappingBehaviour.ENDPOINT_INDEPENDENT),
        (Mapping.ADDRESS_DEPENDENT, MappingBehaviour.DESTINATION_DEPENDENT),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, MappingBehaviour.DESTINATION_DEPENDENT),
    ],
)
def test_two_plain_servers_tell_the_mapping_and_leave_the_filter_unknown(
    mapping: Mapping, expected: MappingBehaviour
) -> None:
    behaviour = Site(Nat(PUBLIC, mapping), PLAIN_1, PLAIN_2).behaviour

    assert behaviour.mapping is expected
    assert behaviour.filtering is FilteringBehaviour.UNKNOWN


def test_one_plain_server_tells_little() -> None:
    behaviour = Site(Nat(PUBLIC), PLAIN_1).behaviour

    assert behaviour.mapping is MappingBehaviour.UNKNOWN
    assert behaviour.filtering is FilteringBehaviour.UNKNOWN
    assert str(behaviour.public) == PUBLIC


def test_no_server_tells_nothing() -> None:
    site = Site(Nat(PUBLIC), endpoint("192.0.2.66", 3478))
    found = site.found()

    assert found.behaviour == NatBehaviour()
    assert [answer.mapped for answer in found.servers] == [None]
    assert len(site.network.sent_by(site.host)) == MAX_REQUESTS


def test_a_server_that_ignores_change_request_proves_nothing() -> None:
    server = BehaviourServer(ONE, OTHER, honours=False)
    behaviour = Site(Nat(PUBLIC), server=server).behaviour

    assert behaviour.mapping is MappingBehaviour.ENDPOINT_INDEPENDENT
    assert behaviour.filtering is FilteringBehaviour.UNKNOWN


@pytest.mark.parametrize(
    "silent", [[OTHER], [Endpoint(ONE.ip, OTHER.port)], [OTHER, Endpoint(ONE.ip, OTHER.port)]]
)
def test_the_silence_of_a_dead_address_is_no_filter(silent: list[Endpoint]) -> None:
    server = BehaviourServer(ONE, OTHER)
    server.silent = set(silent)
    behaviour = Site(Nat(PUBLIC), server=server).behaviour

    assert behaviour.filtering is FilteringBehaviour.UNKNOWN


@pytest.mark.parametrize(
    "claimed",
    [
        endpoint("127.0.0.1", 53),
        endpoint("192.168.1.1", 53),
        endpoint("10.0.0.1", 53),
        endpoint("224.0.0.1", 53),
        Endpoint(ONE.ip, 3479),
        Endpoint(OTHER.ip, 0),
        endpoint("2001:db8::1", 3479),
    ],
)
def test_a_server_cannot_send_us_to_where_no_server_is(claimed: Endpoint) -> None:
    server = BehaviourServer(ONE, OTHER)
    server.claims = claimed
    site = Site(Nat(PUBLIC), server=server)

    assert site.behaviour.filtering is FilteringBehaviour.UNKNOWN
    assert claimed not in {sent.datagram.destination for sent in site.network.sent_by(site.host)}


def test_it_costs_few_datagrams_and_little_time() -> None:
    site = Site(Nat(PUBLIC), ONE, PLAIN_1, PLAIN_2)
    site.found()

    sent = site.network.sent_by(site.host)
    assert len(sent) <= 26
    assert sent[-1].at < 2.5


@pytest.mark.parametrize("seed", range(20))
def test_moderate_loss_changes_no_verdict(seed: int) -> None:
    nat = Nat(PUBLIC, Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)
    behaviour = Site(nat, loss=0.03, seed=seed).behaviour

    assert behaviour.mapping is MappingBehaviour.ENDPOINT_INDEPENDENT
    assert behaviour.filtering is FilteringBehaviour.ADDRESS_DEPENDENT


def test_the_round_trip_of_each_server_is_measured() -> None:
    found = Site(Nat(PUBLIC), ONE, PLAIN_1).found()

    assert [(a.server, a.rfc5780) for a in found.servers] == [(ONE, True), (PLAIN_1, False)]
    assert [a.rtt for a in found.servers] == [pytest.approx(0.04)] * 2


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_bytes_from_anywhere_change_no_verdict(payloads: list[bytes]) -> None:
    site = Site(Nat(PUBLIC))
    for payload in payloads:
        for source in (ONE, OTHER, PLAIN_1):
            site.discovery.receive_datagram(Datagram(source, FIRST, payload), 0.0)

    assert site.behaviour.mapping is MappingBehaviour.ENDPOINT_INDEPENDENT


def test_a_stranger_s_request_is_no_hairpin() -> None:
    site = Site(Nat(PUBLIC))
    site.network.run(0.09)
    request: Any = next(s.datagram for s in site.network.sent_by(site.host))
    site.discovery.receive_datagram(Datagram(PLAIN_1, FIRST, request.payload), 0.09)

    assert site.behaviour.hairpinning is False
