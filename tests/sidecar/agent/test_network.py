"""What the network reader tells, and when."""

import asyncio
from typing import Any
from unittest.mock import MagicMock

from nat.io.interfaces import HostNetwork
from sidecar.agent.network import NetworkReader


def test_after_a_sleep_the_network_counts_as_another_though_it_is_the_same() -> None:
    told: list[HostNetwork] = []
    settings: Any = MagicMock(advertise=())
    traversal: Any = MagicMock()

    async def scenario() -> None:
        reader = NetworkReader(
            settings,
            port=20000,
            traversal=traversal,
            on_ways=lambda _: None,
            on_network=told.append,
            on_servers=lambda _: None,
            on_change=lambda: None,
        )
        reader._on_wake(3600.0)
        assert told == [], "nothing is known yet"
        reader._on_network(HostNetwork((), ()))
        reader._on_wake(3600.0)

    asyncio.run(scenario())

    assert told == [HostNetwork((), ())] * 2
    assert traversal.network_changed.call_count == 3
