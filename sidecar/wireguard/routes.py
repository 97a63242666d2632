"""The local half of a path: host routes that put a peer's data on the uplink that was checked.

WireGuard sends from wherever a lookup of the peer's address says, even when it answers a packet
that came in by another uplink (design D6). Where that is not the local address of the selected
pair, a route `REMOTE via GATEWAY dev INTERFACE src LOCAL` says so, in a table that only our own
WireGuard's datagrams look into: by its mark and its port, so that several teams on one host, and
everything else on it, keep to their own routes.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from nat.machine import IPAddress

DEFAULT_MARK: Final = 0x6B62
"""Stands for the mark in the table's number where there is none."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Where a peer's data is to leave, and where it goes."""

    source: IPAddress
    remote: IPAddress


@dataclass(frozen=True, slots=True)
class HostRoute:
    """One route of our table.

    Attributes:
        interface: index of the uplink.
        gateway: `None`: the remote address is a neighbour.
    """

    remote: IPAddress
    source: IPAddress
    interface: int
    gateway: IPAddress | None


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """Whose datagrams look into which table.

    Attributes:
        mark: WireGuard's; 0: it has none.
        port: WireGuard's listen port.
        priority: of the rule; lower ones are asked first.
    """

    mark: int
    port: int
    priority: int

    @property
    def table(self) -> int:
        """The table's number: no other team's on this host, since the port is our own."""
        return ((self.mark & 0xFFFF or DEFAULT_MARK) << 16) | self.port


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Add a route; one to the same remote address is replaced without a moment between."""

    route: HostRoute


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Remove a route."""

    route: HostRoute


RouteChange = PutRoute | RemoveRoute


def sources(flows: Iterable[Flow]) -> dict[IPAddress, IPAddress]:
    """Return one source for each remote address: peers behind one address share the uplink.

    The first flow decides; the path machines (`nat.uplinks`) see to it that the others agree.
    """
    decided: dict[IPAddress, IPAddress] = {}
    for flow in flows:
        decided.setdefault(flow.remote, flow.source)
    return decided


def diff(
    wanted: Mapping[IPAddress, HostRoute | None],
    actual: Iterable[HostRoute],
    in_use: AbstractSet[IPAddress],
) -> list[RouteChange]:
    """Return the changes that make `actual` what is wanted.

    Args:
        wanted: by remote address; `None`: the usual lookup says the same by itself.
        actual: the routes of our table.
        in_use: remote addresses that WireGuard sends to. A route to one of them stays until we
            know better: after a restart, its tunnel is older than what we know of paths.
    """
    known = {route.remote: route for route in actual}
    changes: list[RouteChange] = [
        PutRoute(route)
        for remote, route in wanted.items()
        if route is not None and known.get(remote) != route
    ]
    for remote, route in known.items():
        unneeded = wanted[remote] is None if remote in wanted else remote not in in_use
        if unneeded:
            changes.append(RemoveRoute(route))
    return changes
