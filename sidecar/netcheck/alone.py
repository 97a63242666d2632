"""A check without an agent: from fresh ports, and with a port mapping that is deleted again."""

import asyncio
import secrets
import socket
from contextlib import suppress
from typing import Final

from nat.gathering import MappedEndpoint
from nat.io.interfaces import HostNetwork, read_network
from nat.io.port_mapping import PortMappings
from nat.io.resolve import resolve_all

from ..agent.nat_observer import NatObserver
from ..agent.port_mapping import describe_mapping
from ..host_port import parse_host_port
from ..settings import STUN_PORT, Settings
from ..status import PortMappingStatus
from .document import Netcheck, compose
from .relays import ask_relays

MAPPING_PATIENCE: Final = 8.0
"""Seconds for the gateways: UPnP's search alone takes three."""

LOOK: Final = 0.1
"""Seconds between looks whether all gateways have been asked."""


async def check(settings: Settings) -> Netcheck:
    """Find out what can be found out without the shared port."""
    network = await asyncio.to_thread(
        read_network, exclude=frozenset({settings.interface}), mark=settings.fwmark
    )
    servers = await resolve_all(
        [parse_host_port(text, STUN_PORT) for text in settings.stun_servers]
    )
    observer = NatObserver(mark=settings.fwmark, rng=secrets.SystemRandom(), on_found=lambda: None)
    observer.network_changed(network)
    observer.servers_changed(servers)
    off = settings.port_mapping == "off"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        # Bound, so that nobody else gets the port while it is mapped.
        holder.bind(("0.0.0.0", 0))
        port = holder.getsockname()[1]
        mappings, turn, _ = await asyncio.gather(
            _mappings(settings, network, port) if not off else _none(),
            ask_relays(settings, port),
            observer.look(),
        )
    return compose(
        agent=False,
        port=port,
        addresses=[str(address.ip) for address in network.addresses],
        stun=observer.servers(),
        turn=turn,
        nat=observer.nats(),
        port_mapping=mappings,
        port_mapping_off=off,
    )


async def _none() -> tuple[PortMappingStatus, ...]:
    return ()


async def _mappings(
    settings: Settings, network: HostNetwork, port: int
) -> tuple[PortMappingStatus, ...]:
    """Map the port at every gateway, say what came of it, and delete the mappings."""

    def ignore(_: tuple[MappedEndpoint, ...]) -> None:
        pass

    mappings = PortMappings(
        port=port,
        mark=settings.fwmark,
        secret=secrets.token_bytes(32),
        rng=secrets.SystemRandom(),
        on_change=ignore,
    )
    mappings.network_changed(network)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(mappings.run())
        with suppress(TimeoutError):
            async with asyncio.timeout(MAPPING_PATIENCE):
                while not mappings.settled:  # noqa: ASYNC110 - who finds nothing raises no event
                    await asyncio.sleep(LOOK)
        statuses = tuple(describe_mapping(report) for report in mappings.reports())
        running.cancel()
    return statuses
