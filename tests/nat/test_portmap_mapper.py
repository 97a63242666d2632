"""One mapping at one gateway, in virtual time, against servers written from the RFCs."""

import struct
from ipaddress import ip_address
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.machine import Datagram, Endpoint
from nat.portmap import mapper as subject
from nat.portmap.events import (
    MapperState,
    PortMapped,
    PortUnmapped,
    Released,
    UpnpMapRequested,
    UpnpUnmapRequested,
)
from nat.portmap.mapper import Mapper
from nat.portmap.memory import FIRST_REST, LAST_REST, GatewayMemory
from nat.portmap.values import Gateway as GatewayId
from nat.portmap.values import Granted, MappingProtocol, Refused, Uplink

from ..support.gateway import Gateway

BASE = Endpoint(ip_address("192.168.1.2"), 20000)
LOCAL = Endpoint(ip_address("192.168.1.2"), 40000)
UPLINK = Uplink(GatewayId(ip_address("192.168.1.1"), "eth0"), BASE)
EXTERNAL = Endpoint(ip_address("203.0.113.2"), 20000)

PCP, NAT_PMP, UPNP = MappingProtocol


class Home:
    """A mapper, its gateway, and the time."""

    def __init__(
        self,
        gateway: Gateway | None = None,
        *,
        memory: GatewayMemory | None = None,
        uplink: Uplink = UPLINK,
        upnp: Any = None,
        secret: bytes = b"secret",
        now: float = 0.0,
    ) -> None:
        self.gateway = gateway or Gateway()
        self.upnp = upnp
        self.now = now
        self.events: list[tuple[float, object]] = []
        self.sent: list[tuple[float, Datagram]] = []
        self.mapper = Mapper(
            uplink,
            local=Endpoint(uplink.base.ip, 40000),
            secret=secret,
            memory=memory or GatewayMemory(),
            rng=Random(1),
            now=now,
        )
        self.settle()

    def settle(self) -> None:
        """Let the gateway answer at once, and UPnP too if it is there."""
        progress = True
        while progress:
            progress = False
            for datagram in self.mapper.datagrams_to_send():
                self.sent.append((self.now, datagram))
                for answer in self.gateway.answer(datagram, self.now):
                    self.mapper.receive_datagram(answer, self.now)
                progress = True
            while (event := self.mapper.next_event()) is not None:
                self.events.append((self.now, event))
                progress = True
                if isinstance(event, UpnpMapRequested) and self.upnp != "silent":
                    self.mapper.upnp_answered(self.upnp, self.now)

    def run(self, until: float) -> None:
        while (due := self.mapper.next_timeout()) is not None and due <= until:
            self.now = max(self.now, due)
            self.mapper.handle_timeout(self.now)
            self.settle()
        self.now = until

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def at(self, kind: type[Any]) -> list[float]:
        return [at for at, event in self.events if isinstance(event, kind)]

    @property
    def state(self) -> MapperState:
        return self.mapper.report(self.now).state


def test_a_gateway_with_pcp_maps_in_one_exchange() -> None:
    home = Home()

    assert home.of(PortMapped) == [PortMapped(UPLINK, EXTERNAL, PCP)]
    assert len(home.sent) == 1
    assert home.mapper.external == EXTERNAL
    home.run(10.0)
    assert home.of(UpnpMapRequested) == [], "nobody else is asked"


def test_a_gateway_that_names_its_version_is_asked_in_natpmp_at_once() -> None:
    home = Home(Gateway(pcp=False))

    assert home.of(PortMapped) == [PortMapped(UPLINK, EXTERNAL, NAT_PMP)]
    assert home.at(PortMapped) == [0.0]


def test_a_gateway_that_drops_what_it_does_not_know_is_asked_in_natpmp_soon() -> None:
    home = Home(Gateway(pcp=False, answers_unknown_versions=False))
    home.run(5.0)

    assert home.of(PortMapped) == [PortMapped(UPLINK, EXTERNAL, NAT_PMP)]
    assert home.at(PortMapped) == [0.75], "with the third request"


def test_upnp_is_asked_where_the_others_are_silent() -> None:
    home = Home(Gateway(pcp=False, natpmp=False), upnp=Granted(EXTERNAL, 3600.0))
    home.run(5.0)

    assert home.at(UpnpMapRequested) == [subject.UPNP_HEAD_START]
    assert home.of(PortMapped) == [PortMapped(UPLINK, EXTERNAL, UPNP)]


def test_upnp_need_not_wait_for_a_gateway_without_the_other_port() -> None:
    home = Home(Gateway(pcp=False, natpmp=False), upnp=Granted(EXTERNAL, 3600.0))
    home.now = 0.01
    home.mapper.refused(home.now)
    home.settle()

    assert home.at(PortMapped) == [0.01]


def test_upnp_is_asked_where_pcp_refuses() -> None:
    home = Home(Gateway(pcp_result=2), upnp=Granted(EXTERNAL, 3600.0))

    assert home.of(PortMapped) == [PortMapped(UPLINK, EXTERNAL, UPNP)]
    assert home.mapper.report(0.0).spoken == (PCP, UPNP)


def test_a_late_grant_of_upnp_is_given_back() -> None:
    home = Home(Gateway(online=False), upnp="silent")
    home.run(1.5)
    home.gateway.online = True
    home.run(4.0)
    assert home.of(PortMapped) == [PortMapped(UPLINK, EXTERNAL, PCP)]

    home.mapper.upnp_answered(Granted(EXTERNAL, 3600.0), home.now)
    home.settle()

    assert home.of(UpnpUnmapRequested) == [UpnpUnmapRequested(UPLINK, 20000)]
    assert home.mapper.external == EXTERNAL


def test_retransmissions_double_from_a_quarter_of_a_second() -> None:
    home = Home(Gateway(pcp=False, natpmp=False))
    home.run(60.0)

    assert home.gateway.asked(2) == [0.0, 0.25, 0.75, 1.75, 3.75, 7.75]
    assert home.gateway.asked(0) == [0.75, 0.75, 1.75, 1.75, 3.75, 3.75, 7.75, 7.75]
    assert home.state is MapperState.RESTING


def test_a_gateway_without_it_is_asked_ever_more_rarely() -> None:
    home = Home(Gateway(pcp=False, natpmp=False))
    home.run(2 * 86400.0)

    searches = home.at(UpnpMapRequested)
    pauses = [b - a for a, b in pairwise(searches)]
    assert pauses[0] == pytest.approx(FIRST_REST + 15.75)
    assert pauses[1] == pytest.approx(2 * FIRST_REST + 15.75)
    assert pauses[-1] == pytest.approx(LAST_REST + 15.75)
    assert len(searches) == 19, "in two days"


def test_a_gateway_is_recognised_after_the_host_was_elsewhere() -> None:
    memory = GatewayMemory()
    Home(Gateway(pcp=False, natpmp=False), memory=memory).run(60.0)

    back = Home(Gateway(pcp=False, natpmp=False), memory=memory, now=65.0)
    back.run(75.0)

    assert back.sent == []
    assert back.state is MapperState.RESTING


def test_a_refusal_holds_as_long_as_the_gateway_says() -> None:
    home = Home(Gateway(pcp_result=8))
    home.run(10.0)
    assert home.mapper.report(home.now).refusal == "PCP: NO_RESOURCES"

    home.run(1799.0)
    assert len(home.gateway.asked(2)) == 1
    home.run(1801.0)
    assert len(home.gateway.asked(2)) == 2


@pytest.mark.parametrize(("pcp", "version"), [(True, 2), (False, 0)])
def test_a_mapping_is_renewed_after_half_its_lifetime(pcp: bool, version: int) -> None:
    home = Home(Gateway(pcp=pcp, lifetime=3600))
    home.run(86400.0)

    maps = [at for at, payload in home.gateway.requests if payload[:2] == bytes([version, 1])]
    pauses = [b - a for a, b in pairwise(maps)]
    assert all(1800 <= pause <= 1800 + 450 for pause in pauses)
    assert len(home.of(PortMapped)) == 1, "a renewal is no news"
    assert home.of(PortUnmapped) == []


def test_upnp_is_renewed_every_twenty_minutes_at_least() -> None:
    home = Home(Gateway(pcp=False, natpmp=False), upnp=Granted(EXTERNAL, 7200.0))
    home.run(3 * 3600.0)

    pauses = [b - a for a, b in pairwise(home.at(UpnpMapRequested))]
    assert pauses == [subject.UPNP_RENEWAL] * len(pauses)
    assert len(pauses) >= 8
    assert len(home.of(PortMapped)) == 1


def test_a_gateway_that_is_away_for_a_while_costs_nothing() -> None:
    home = Home(Gateway(lifetime=3600))
    home.gateway.online = False
    home.run(2900.0)
    home.gateway.online = True
    home.run(3600.0)

    assert home.of(PortUnmapped) == []
    assert home.mapper.external == EXTERNAL


def test_a_mapping_that_nobody_renews_is_given_up_when_it_ends() -> None:
    home = Home(Gateway(lifetime=3600))
    home.gateway.online = False
    home.run(3700.0)

    assert home.at(PortUnmapped) == [3600.0]
    assert home.mapper.external is None


@pytest.mark.parametrize("pcp", [True, False])
def test_an_announced_restart_maps_again_within_seconds(pcp: bool) -> None:
    home = Home(Gateway(pcp=pcp))
    home.run(1000.0)
    home.gateway.restart(1000.0)

    home.mapper.receive_datagram(home.gateway.announcement(1000.0, pcp=pcp), 1000.0)
    home.run(1000.0 + subject.ANNOUNCEMENT_SPREAD)

    assert len(home.gateway.mappings) == 1
    assert home.of(PortUnmapped) == []


@pytest.mark.parametrize("pcp", [True, False])
def test_a_gateway_that_had_only_just_started_and_restarts_maps_again(pcp: bool) -> None:
    home = Home(Gateway(pcp=pcp))
    home.run(1.5)
    assert len(home.gateway.mappings) == 1
    home.gateway.restart(1.5)

    home.mapper.receive_datagram(home.gateway.announcement(1.6, pcp=pcp), 1.6)
    home.run(1.6 + subject.ANNOUNCEMENT_SPREAD)

    assert len(home.gateway.mappings) == 1
    assert home.of(PortUnmapped) == []


def test_an_announcement_of_a_gateway_that_remembers_changes_nothing() -> None:
    home = Home()
    home.run(1000.0)
    before = len(home.sent)

    home.mapper.receive_datagram(home.gateway.announcement(1000.0), 1000.0)
    home.run(1010.0)

    assert len(home.sent) == before


@pytest.mark.parametrize("pcp", [True, False])
def test_a_restart_that_was_not_heard_of_is_seen_by_the_epoch(pcp: bool) -> None:
    home = Home(Gateway(pcp=pcp))
    home.run(1000.0)
    home.gateway.restart(1000.0)

    home.run(1000.0 + subject.WATCH + subject.MIN_PAUSE)

    assert len(home.gateway.mappings) == 1


def test_looking_at_the_epoch_costs_a_request_each_five_minutes() -> None:
    home = Home()
    home.run(3000.0)

    assert len(home.sent) == 1 + 10


def test_a_public_address_that_changes_is_told() -> None:
    home = Home(Gateway(pcp=False))
    home.gateway.public = ip_address("203.0.113.77")

    home.run(subject.WATCH + 20.0)

    assert [str(e.external) for e in home.of(PortMapped)] == [
        "203.0.113.2:20000",
        "203.0.113.77:20000",
    ]


def test_a_gateway_that_wakes_up_is_asked_when_it_says_so() -> None:
    home = Home(Gateway(pcp=False, natpmp=False))
    home.run(60.0)
    home.gateway.pcp = True

    home.mapper.receive_datagram(home.gateway.announcement(60.0), 60.0)
    home.run(60.0 + subject.ANNOUNCEMENT_SPREAD)

    assert home.mapper.external == EXTERNAL


def test_a_forged_announcement_is_no_half_of_an_answer() -> None:
    home = Home(Gateway(pcp=False, natpmp=False))
    home.run(1.0)
    forger = Gateway(pcp=False)
    forger.public = ip_address("198.51.100.66")
    home.mapper.receive_datagram(forger.announcement(1.0, pcp=False), 1.0)

    home.gateway.natpmp = True
    home.run(10.0)

    assert home.mapper.external == EXTERNAL


def test_forged_announcements_make_nobody_flood() -> None:
    home = Home()
    home.run(1000.0)
    before = len(home.sent)
    for step in range(1000):
        home.gateway.begun = 1000.0 + step / 10 - (step % 2) * 500
        now = 1000.0 + step / 10
        home.run(now)
        home.mapper.receive_datagram(home.gateway.announcement(now), now)

    assert len(home.sent) - before <= 100 / subject.MIN_PAUSE + 2


def test_the_same_port_is_asked_for_again() -> None:
    gateway = Gateway(external_port=55555)
    memory = GatewayMemory()
    Home(gateway, memory=memory)
    gateway.external_port = None

    again = Home(gateway, memory=memory, now=10.0)

    assert again.mapper.external == Endpoint(gateway.public, 55555)


def test_the_nonce_survives_a_restart_and_is_no_secret_s_business() -> None:
    nonces = [Home(secret=secret).sent[0][1].payload[24:36] for secret in (b"one", b"one", b"two")]

    assert nonces[0] == nonces[1]
    assert nonces[0] != nonces[2]
    assert b"one" not in nonces[0]


@pytest.mark.parametrize("pcp", [True, False])
def test_the_end_deletes_the_mapping(pcp: bool) -> None:
    home = Home(Gateway(pcp=pcp))
    assert len(home.gateway.mappings) == 1

    home.mapper.release(home.now)
    home.settle()

    assert home.gateway.mappings == {}
    assert home.of(Released) == [Released(UPLINK)]
    assert home.mapper.next_timeout() is None


def test_the_end_waits_two_seconds_at_most() -> None:
    home = Home()
    home.gateway.online = False
    home.mapper.release(home.now)
    home.settle()
    home.run(10.0)

    assert home.at(Released) == [1.75]


@pytest.mark.parametrize("pcp", [True, False])
def test_a_grant_that_was_not_heard_of_is_taken_back_at_the_end(pcp: bool) -> None:
    gateway = Gateway(pcp=pcp, natpmp=not pcp, answers_unknown_versions=False)
    home = Home(Gateway(online=False))
    home.run(1.0)
    for _, request in home.sent:
        gateway.answer(request, 1.0)
    assert len(gateway.mappings) == 1

    home.gateway = gateway
    home.mapper.release(home.now)
    home.settle()

    assert gateway.mappings == {}
    assert home.of(Released) == [Released(UPLINK)]


def test_the_end_of_an_upnp_mapping_is_upnp_s() -> None:
    home = Home(Gateway(pcp=False, natpmp=False), upnp=Granted(EXTERNAL, 3600.0))
    home.run(2.0)

    home.mapper.release(home.now)
    home.settle()
    assert home.of(UpnpUnmapRequested) == [UpnpUnmapRequested(UPLINK, 20000)]
    assert home.of(Released) == []
    home.mapper.upnp_deleted(home.now)
    home.settle()

    assert home.of(Released) == [Released(UPLINK)]


def test_a_gateway_that_stops_mapping_is_believed() -> None:
    home = Home(Gateway(lifetime=3600))
    home.gateway.pcp_result = 2
    home.run(3000.0)

    assert len(home.of(PortUnmapped)) == 1
    assert home.state is MapperState.RESTING


def test_upnp_that_vanishes_is_given_up() -> None:
    home = Home(Gateway(pcp=False, natpmp=False), upnp=Granted(EXTERNAL, 3600.0))
    home.run(2.0)
    home.upnp = None
    home.run(1500.0)

    assert len(home.of(PortUnmapped)) == 1


def test_an_ipv6_gateway_opens_a_pinhole_by_pcp_and_is_asked_nothing_else() -> None:
    base = Endpoint(ip_address("2001:db8::2"), 20000)
    uplink = Uplink(GatewayId(ip_address("fe80::1"), "eth0"), base)
    gateway = Gateway(ip=ip_address("fe80::1"), public=base.ip)

    home = Home(gateway, uplink=uplink)
    silent = Home(Gateway(ip=ip_address("fe80::1"), pcp=False, natpmp=False), uplink=uplink)
    silent.run(60.0)

    assert home.of(PortMapped) == [PortMapped(uplink, base, PCP)]
    assert silent.gateway.asked(0) == []
    assert silent.of(UpnpMapRequested) == []


def test_answers_from_elsewhere_or_with_another_nonce_are_dropped() -> None:
    home = Home(Gateway(online=False))
    request = home.sent[0][1]
    home.gateway.online = True
    (answer,) = home.gateway.answer(request, 0.0)
    elsewhere = Datagram(Endpoint(ip_address("192.168.1.66"), 5351), LOCAL, answer.payload)
    payload = bytearray(answer.payload)
    payload[24] ^= 1
    other_nonce = Datagram(answer.source, LOCAL, bytes(payload))
    payload[24] ^= 1
    struct.pack_into("!H", payload, 40, 20001)
    other_port = Datagram(answer.source, LOCAL, bytes(payload))

    for forged in (elsewhere, other_nonce, other_port):
        home.mapper.receive_datagram(forged, 0.0)

    assert home.mapper.external is None
    assert home.mapper.ignored == {
        "not from the gateway": 1,
        "answer to nothing that was asked": 2,
    }


def test_a_gateway_that_refuses_versions_for_ever_is_not_answered_for_ever() -> None:
    home = Home(Gateway(pcp=False, natpmp_result=1), upnp=Refused("no"))
    home.run(50.0)

    assert len(home.sent) <= 4
    assert home.state is MapperState.RESTING


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_any_bytes_of_the_gateway_raise_nothing_and_bound_what_is_sent(
    payloads: list[bytes], mapped: bool
) -> None:
    home = Home(Gateway(online=mapped))
    for payload in payloads:
        home.mapper.receive_datagram(Datagram(home.gateway.endpoint, LOCAL, payload), home.now)
        home.settle()

    assert len(home.sent) <= 4 + len(payloads)
