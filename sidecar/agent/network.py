"""What this host's network is: told to the path machines, whenever it changes."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from nat.gathering import HostAddress
from nat.io.interfaces import HostNetwork, InterfaceWatch, endpoint_of
from nat.io.resolve import keep_resolved
from nat.io.sleep import SleepWatch
from nat.io.ways import Ways
from nat.machine import Endpoint
from nat.traversal import Traversal

from ..host_port import parse_host_port
from ..settings import STUN_PORT, Settings

_log = logging.getLogger(__name__)


class NetworkReader:
    """Watches interfaces and keeps server names resolved.

    Args:
        settings: servers, advertised endpoints, which interface is ours.
        port: the UDP port that WireGuard and STUN share.
        traversal: told of addresses and servers.
        on_ways: gets by which interface datagrams leave.
        on_network: gets the host's network, whenever it changes.
        on_servers: gets the STUN servers, whenever their addresses change.
        on_change: called after each change of the traversal.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        port: int,
        traversal: Traversal,
        on_ways: Callable[[Ways], None],
        on_network: Callable[[HostNetwork], None],
        on_servers: Callable[[tuple[Endpoint, ...]], None],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._port = port
        self._traversal = traversal
        self._on_ways = on_ways
        self._on_network_change = on_network
        self._on_servers = on_servers
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._renewed = asyncio.Event()
        self._known: HostNetwork | None = None

    def renew(self, settings: Settings) -> None:
        """Take other servers from now on."""
        self._settings = settings
        self._renewed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        watch = InterfaceWatch(
            exclude=frozenset({self._settings.interface}),
            mark=self._settings.fwmark,
            on_change=self._on_network,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(watch.run())
            group.create_task(SleepWatch(self._on_wake).run())
            group.create_task(self._keep_servers())

    async def _keep_servers(self) -> None:
        while True:
            self._renewed.clear()
            servers = [parse_host_port(text, STUN_PORT) for text in self._settings.stun_servers]
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(keep_resolved(servers, self._on_stun_servers))
                await self._renewed.wait()
                looking.cancel()

    def _on_network(self, network: HostNetwork) -> None:
        before, self._known = self._known, network
        self._on_ways(network.ways)
        if before is not None and replace(before, near=network.near) == network:
            return  # a container's network has come or gone: no path of ours is another
        now = self._loop.time()
        addresses = [
            HostAddress(endpoint_of(a, self._port), a.interface, a.local_preference)
            for a in network.addresses
        ]
        advertised = [parse_host_port(text) for text in self._settings.advertise]
        self._traversal.set_host_addresses(addresses, now)
        self._traversal.set_advertised(
            [Endpoint(ip_address(host), port) for host, port in advertised], now
        )
        self._traversal.network_changed(now)
        _log.info("network changed", extra={"addresses": len(addresses)})
        self._on_network_change(network)
        self._on_change()

    def _on_wake(self, seconds: float) -> None:
        _log.info("woken up", extra={"slept": round(seconds)})
        self._traversal.network_changed(self._loop.time())
        if self._known is not None:
            # Our clock stood still: a gateway may have let our mapping lapse, or be another one.
            self._on_network_change(self._known)
        self._on_change()

    def _on_stun_servers(self, servers: tuple[Endpoint, ...]) -> None:
        self._traversal.set_stun_servers(servers, self._loop.time())
        self._on_servers(servers)
        self._on_change()
