"""A gateway that restarts, and says so or not."""

from ipaddress import ip_address

import pytest

from nat.portmap import mapped, mapper
from nat.portmap.events import (
    PortUnmapped,
)

from ...support.gateway import Gateway
from ...support.port_mapping import EXTERNAL, Home


@pytest.mark.parametrize("pcp", [True, False])
def test_an_announced_restart_maps_again_within_seconds(pcp: bool) -> None:
    home = Home(Gateway(pcp=pcp))
    home.run(1000.0)
    home.gateway.restart(1000.0)

    home.mapper.receive_datagram(home.gateway.announcement(1000.0, pcp=pcp), 1000.0)
    home.run(1000.0 + mapper.ANNOUNCEMENT_SPREAD)

    assert len(home.gateway.mappings) == 1
    assert home.of(PortUnmapped) == []


@pytest.mark.parametrize("pcp", [True, False])
def test_a_gateway_that_had_only_just_started_and_restarts_maps_again(pcp: bool) -> None:
    home = Home(Gateway(pcp=pcp))
    home.run(1.5)
    assert len(home.gateway.mappings) == 1
    home.gateway.restart(1.5)

    home.mapper.receive_datagram(home.gateway.announcement(1.6, pcp=pcp), 1.6)
    home.run(1.6 + mapper.ANNOUNCEMENT_SPREAD)

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

    home.run(1000.0 + mapped.WATCH + mapper.MIN_PAUSE)

    assert len(home.gateway.mappings) == 1


def test_a_gateway_that_wakes_up_is_asked_when_it_says_so() -> None:
    home = Home(Gateway(pcp=False, natpmp=False))
    home.run(60.0)
    home.gateway.pcp = True

    home.mapper.receive_datagram(home.gateway.announcement(60.0), 60.0)
    home.run(60.0 + mapper.ANNOUNCEMENT_SPREAD)

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

    assert len(home.sent) - before <= 100 / mapper.MIN_PAUSE + 2
