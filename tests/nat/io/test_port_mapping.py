"""Port mappings of all uplinks, where the host itself makes difficulties."""

import asyncio
import errno
from collections.abc import Callable
from ipaddress import ip_address
from random import Random

import pytest
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

from nat.io import port_mapping
from nat.io.interfaces import HostNetwork
from nat.io.port_mapping import PortMappings
from nat.machine import Endpoint
from nat.portmap.values import Gateway, Uplink

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

    monkeypatch.setattr(port_mapping, "find_uplinks", find)
    monkeypatch.setattr(port_mapping, "NEIGHBOUR_WAIT", 0.0)
    asyncio.run(run_until(lambda mappings: mappings.settled))
    assert looks == 2


def test_a_gateway_to_which_there_was_no_socket_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def find(_network: HostNetwork, port: int) -> tuple[Uplink, ...]:
        nonlocal looks
        looks += 1
        ip = ip_address("192.0.2.77" if looks == 1 else "127.0.0.1")
        gateway = Gateway(ip_address("127.0.0.1"), "lo", "02:00:00:00:00:01")
        return (Uplink(gateway, Endpoint(ip, port)),)

    monkeypatch.setattr(port_mapping, "find_uplinks", find)
    monkeypatch.setattr(port_mapping, "SOCKET_RETRY", 0.05)
    asyncio.run(run_until(lambda mappings: len(mappings.reports()) == 1))
    assert looks == 2


async def run_until(reached: Callable[[PortMappings], bool]) -> None:
    """Have the ports mapped until a state is reached, then end."""
    mappings = PortMappings(
        port=20000,
        mark=0,
        secret=bytes(32),
        rng=Random(1),
        on_change=lambda _: None,
        keep=lambda: True,
    )
    mappings.network_changed(HostNetwork((), ()))
    running = asyncio.create_task(mappings.run())
    async with asyncio.timeout(10):
        while not reached(mappings) and not running.done():  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.001)
    assert reached(mappings)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
