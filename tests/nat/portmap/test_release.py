"""The end of a mapping."""

import pytest

from nat.portmap.events import (
    Released,
    UpnpUnmapRequested,
)
from nat.portmap.values import Granted

from ...support.gateway import Gateway
from ...support.port_mapping import EXTERNAL, UPLINK, Home


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
