"""A mapping that stands: renewed, watched, given up."""

from ipaddress import ip_address
from itertools import pairwise

import pytest

from nat.portmap import mapped
from nat.portmap.events import (
    MapperState,
    PortMapped,
    PortUnmapped,
    UpnpMapRequested,
)
from nat.portmap.values import Granted

from ...support.gateway import Gateway
from ...support.port_mapping import EXTERNAL, Home


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
    assert pauses == [mapped.UPNP_RENEWAL] * len(pauses)
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


def test_looking_at_the_epoch_costs_a_request_each_five_minutes() -> None:
    home = Home()
    home.run(3000.0)

    assert len(home.sent) == 1 + 10


def test_a_public_address_that_changes_is_told() -> None:
    home = Home(Gateway(pcp=False))
    home.gateway.public = ip_address("203.0.113.77")

    home.run(mapped.WATCH + 20.0)

    assert [str(e.external) for e in home.of(PortMapped)] == [
        "203.0.113.2:20000",
        "203.0.113.77:20000",
    ]


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
