"""What the network reader tells, and when."""

import asyncio
from ipaddress import ip_network
from typing import Any
from unittest.mock import MagicMock

from nat.io.interfaces import HostNetwork
from nat.io.ways import Ways
from sidecar.agent.network import NetworkReader


def reader(
    traversal: Any, *, told: list[HostNetwork], ways: list[Ways] | None = None
) -> NetworkReader:
    settings: Any = MagicMock(advertise=())
    return NetworkReader(
        settings,
        port=20000,
        traversal=traversal,
        on_ways=(ways if ways is not None else []).append,
        on_network=told.append,
        on_servers=lambda _: None,
        on_change=lambda: None,
    )


def test_a_container_network_that_comes_and_goes_is_a_way_and_no_other_network() -> None:
    told: list[HostNetwork] = []
    ways: list[Ways] = []
    traversal: Any = MagicMock()
    near = frozenset({ip_network("172.17.0.0/16")})

    async def scenario() -> None:
        it = reader(traversal, told=told, ways=ways)
        for network in (HostNetwork((), ()), HostNetwork((), (), near=near), HostNetwork((), ())):
            it._on_network(network)

    asyncio.run(scenario())

    assert ways == [Ways(), Ways({}, near), Ways()]
    assert told == [HostNetwork((), ())]
    assert traversal.network_changed.call_count == 1


def test_after_a_sleep_the_network_counts_as_another_though_it_is_the_same() -> None:
    told: list[HostNetwork] = []
    traversal: Any = MagicMock()

    async def scenario() -> None:
        it = reader(traversal, told=told)
        it._on_wake(3600.0)
        assert told == [], "nothing is known yet"
        it._on_network(HostNetwork((), ()))
        it._on_wake(3600.0)

    asyncio.run(scenario())

    assert told == [HostNetwork((), ())] * 2
    assert traversal.network_changed.call_count == 3
