"""How a gateway is asked for a mapping: in which protocols, when, and how often."""

from ipaddress import ip_address
from itertools import pairwise

import pytest

from nat.machine import Endpoint
from nat.portmap import searching
from nat.portmap.events import (
    MapperState,
    PortMapped,
    UpnpMapRequested,
    UpnpUnmapRequested,
)
from nat.portmap.memory import FIRST_REST, LAST_REST, GatewayMemory
from nat.portmap.values import Gateway as GatewayId
from nat.portmap.values import Granted, Uplink

from ...support.gateway import Gateway
from ...support.port_mapping import EXTERNAL, NAT_PMP, PCP, UPLINK, UPNP, Home


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

    assert home.at(UpnpMapRequested) == [searching.UPNP_HEAD_START]
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


def test_an_ipv6_gateway_opens_a_pinhole_by_pcp_or_else_by_upnp() -> None:
    base = Endpoint(ip_address("2001:db8::2"), 20000)
    uplink = Uplink(GatewayId(ip_address("fe80::1"), "eth0"), base)
    gateway = Gateway(ip=ip_address("fe80::1"), public=base.ip)

    home = Home(gateway, uplink=uplink)
    silent = Home(
        Gateway(ip=ip_address("fe80::1"), pcp=False, natpmp=False),
        uplink=uplink,
        upnp=Granted(base, 7200.0),
    )
    silent.run(60.0)

    assert home.of(PortMapped) == [PortMapped(uplink, base, PCP)]
    assert silent.gateway.asked(0) == []
    assert silent.of(PortMapped) == [PortMapped(uplink, base, UPNP)]
