"""Port mappings of all uplinks, where the host itself makes difficulties."""

import asyncio
import errno
from random import Random

import pytest
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

from nat.io import port_mapping
from nat.io.interfaces import HostNetwork
from nat.io.port_mapping import PortMappings
from nat.portmap.values import Uplink

FAILURES = (NetlinkDumpInterrupted(), OSError(errno.ENOBUFS, "No buffer space available"))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_gateways_that_cannot_be_read_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    looks = 0

    def find(_network: HostNetwork, _port: int) -> tuple[Uplink, ...]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise failure
        return ()

    async def scenario() -> None:
        monkeypatch.setattr(port_mapping, "find_uplinks", find)
        monkeypatch.setattr(port_mapping, "NEIGHBOUR_WAIT", 0.0)
        mappings = PortMappings(
            port=20000, mark=0, secret=bytes(32), rng=Random(1), on_change=lambda _: None
        )
        mappings.network_changed(HostNetwork((), ()))
        running = asyncio.create_task(mappings.run())
        async with asyncio.timeout(10):
            while not mappings.settled and not running.done():  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.001)
        assert mappings.settled
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(scenario())
    assert looks == 2
