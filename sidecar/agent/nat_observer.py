"""Knows what stands between this host and the internet: looked at rarely, shown and hinted at."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Final

from nat.io.interfaces import HostNetwork
from nat.io.nat_probe import discover_behaviour
from nat.machine import Endpoint, IPAddress
from nat.stun.behaviour import BehaviourFound

from ..nat_report import describe_nat, describe_server
from ..status import NatStatus, StunServerStatus

_log = logging.getLogger(__name__)

SETTLE: Final = 3.0
"""Seconds after a change before anything is sent: connecting comes first, and a link that comes up
changes more than once."""

MIN_INTERVAL: Final = 60.0
"""Seconds between looks, however often the network changes; an operator who asks need not wait."""


class NatObserver:
    """Looks at the start, after each change of the network, and when asked.

    Args:
        mark: SO_MARK of what is sent; 0 for none.
        rng: source of transaction ids.
        on_found: called after each look.
    """

    def __init__(self, *, mark: int, rng: Random, on_found: Callable[[], None]) -> None:
        self._mark = mark
        self._rng = rng
        self._on_found = on_found
        self._addresses: tuple[IPAddress, ...] = ()
        self._servers: tuple[Endpoint, ...] = ()
        self._changed = asyncio.Event()
        self._looking = asyncio.Lock()
        self._at: datetime | None = None
        self.found: tuple[BehaviourFound, ...] = ()
        """One entry for each family that was tested, IPv4 first."""

    def network_changed(self, network: HostNetwork) -> None:
        """Take in the host's network: the sources of its default routes are tested."""
        self._addresses = tuple(sorted(network.default_sources, key=lambda ip: ip.version))
        self._changed.set()

    def servers_changed(self, servers: tuple[Endpoint, ...]) -> None:
        """Take in the STUN servers."""
        self._servers = servers
        self._changed.set()

    async def run(self) -> None:
        """Look when there is reason to, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE)
            self._changed.clear()
            await self.look()
            await asyncio.sleep(MIN_INTERVAL)

    async def look(self) -> None:
        """Look now; one look at a time."""
        async with self._looking:
            looks = [self._discover(ip) for ip in self._addresses if self._serves(ip)]
            found = await asyncio.gather(*looks)
            self.found = tuple(one for one in found if one is not None)
            self._at = datetime.now(UTC)
        self._on_found()

    def nats(self) -> tuple[NatStatus, ...]:
        """Describe what was found for each family."""
        return tuple(describe_nat(found, self._at) for found in self.found if self._at)

    def servers(self) -> tuple[StunServerStatus, ...]:
        """Describe what each server answered."""
        return tuple(describe_server(answer) for found in self.found for answer in found.servers)

    def _serves(self, ip: IPAddress) -> bool:
        return any(server.ip.version == ip.version for server in self._servers)

    async def _discover(self, ip: IPAddress) -> BehaviourFound | None:
        try:
            return await discover_behaviour(ip, self._servers, mark=self._mark, rng=self._rng)
        except OSError as error:
            _log.debug("NAT not looked at", extra={"error": str(error)})
            return None
