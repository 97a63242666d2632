"""Keeps the marked host routes as the selected paths need them (design D6, the local half)."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from nat.io.ways import Ways
from nat.machine import IPAddress

from ..errors import BackendError, StartError
from ..wireguard.routes import Flow, HostRoute, RouteChange, diff, sources

_log = logging.getLogger(__name__)

COMPARE_INTERVAL: Final = 30.0
"""Seconds between comparisons without any change: network managers remove rules of others."""


REFUSED_RETRY: Final = 2.0
"""Seconds until routes that were refused are tried again: a gateway may be reachable a moment after
its link has come up, and until then data leaves by another uplink."""


class Table(Protocol):
    """What is asked of `wireguard.route_table.RouteTable`."""

    async def read(self) -> Sequence[HostRoute]: ...

    async def resolve(
        self, flows: Sequence[tuple[Flow, int]]
    ) -> Mapping[IPAddress, HostRoute | None]: ...

    async def apply(self, changes: Sequence[RouteChange]) -> None: ...

    async def filtered(self, uplinks: Mapping[IPAddress, int]) -> Sequence[tuple[str, str]]: ...


class RouteKeeper:
    """Settles the routes whenever flows, uplinks or WireGuard's endpoints have changed.

    Args:
        table: ours.
        flows: returns where the peers' data is to leave.
        on_failure: gets the text of what the kernel refuses, `None` when it works again.
        on_filtered: gets the uplinks that drop what comes in, each with what would mend it.
    """

    def __init__(
        self,
        table: Table,
        *,
        flows: Callable[[], Sequence[Flow]],
        on_failure: Callable[[str | None], None],
        on_filtered: Callable[[Sequence[tuple[str, str]]], None],
    ) -> None:
        self._table = table
        self._flows = flows
        self._on_failure = on_failure
        self._on_filtered = on_filtered
        self._ways = Ways()
        self._routes: frozenset[IPAddress] | None = None
        self._settled_at: float | None = None
        self._endpoints: AbstractSet[IPAddress] | None = None
        self._settled_flows: Sequence[Flow] | None = None
        self._refusal: str | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def routes(self) -> int:
        """How many routes stand."""
        return len(self._routes or ())

    @property
    def settled(self) -> bool:
        """Whether the flows are those that the routes were last settled for.

        Or nothing can be settled yet: see `settle`.
        """
        return self._endpoints is None or tuple(self._flows()) == self._settled_flows

    def set_ways(self, ways: Ways) -> None:
        """Take by which interface datagrams leave; routes may be others."""
        self._ways = ways
        self.changed()

    def changed(self) -> None:
        """Settle at the next occasion: a flow is another."""
        self._settled_at = None

    def observe(self, endpoints: AbstractSet[IPAddress]) -> None:
        """Take the addresses that WireGuard sends to; routes to others are not needed."""
        left = (self._endpoints or frozenset()) - endpoints
        self._endpoints = endpoints
        if self._routes and left & self._routes:
            self.changed()

    async def settle(self) -> None:
        """Bring the routes in line; to be called before an endpoint is set.

        Does nothing before WireGuard was looked at: a tunnel that is older than this agent may
        need the routes that stand.
        """
        if self._endpoints is None:
            return
        now = self._loop.time()
        compared = self._settled_at is not None and now < self._settled_at + COMPARE_INTERVAL
        if compared and self.settled:
            return
        self._settled_at = now
        self._settled_flows = tuple(self._flows())
        try:
            await self._settle()
        except (BackendError, StartError) as error:
            if str(error) != self._refusal:
                _log.warning("host routes refused", extra={"error": str(error)})
            self._refusal = str(error)
            self._on_failure(self._refusal)
            self._settled_at = now - COMPARE_INTERVAL + REFUSED_RETRY
        else:
            self._refusal = None
            self._on_failure(None)

    async def _settle(self) -> None:
        several = any(self._several_uplinks(version) for version in (4, 6))
        self._on_filtered(await self._table.filtered(self._ways.uplinks) if several else ())
        flows = [
            (Flow(source, remote), self._ways.interface(source, remote))
            for remote, source in sources(self._flows()).items()
            if self._routes or self._several_uplinks(remote.version)
        ]
        if not flows and self._routes == frozenset():
            return
        wanted = dict(await self._table.resolve(flows)) if flows else {}
        actual = await self._table.read()
        changes = diff(wanted, actual, self._endpoints or frozenset())
        if changes:
            _log.debug("host routes settled", extra={"changes": len(changes)})
            await self._table.apply(changes)
            actual = await self._table.read()
        self._routes = frozenset(route.remote for route in actual)

    def _several_uplinks(self, version: int) -> bool:
        """Whether there is a choice at all: with one address every lookup has one result."""
        return sum(1 for address in self._ways.uplinks if address.version == version) > 1
