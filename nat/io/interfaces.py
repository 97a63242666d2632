"""The host's own addresses by netlink, and every change of them (design D10)."""

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError

from ..candidate import DEFAULT_LOCAL_PREFERENCE, is_reachable_address
from ..machine import Endpoint, IPAddress

_log = logging.getLogger(__name__)

DEBOUNCE: Final = 0.05
"""Seconds that a change waits for those that follow it: a new link brings a burst."""

RECHECK: Final = 60.0
"""Seconds between looks without any event: netlink may lose some."""

IGNORED_NAMES: Final = re.compile(r"^(lo$|docker|br-|veth|virbr|cni|flannel|cali|podman|lxc)")
"""Interfaces that lead to this machine's own containers, by name: a container's own `eth0` is a
veth too and its only way out."""

IGNORED_KINDS: Final = frozenset({"wireguard", "tun", "ifb"})
"""Kinds of links that are tunnels themselves, or nowhere."""

_IFA_F_TEMPORARY: Final = 0x01
_IFA_F_DADFAILED: Final = 0x08
_IFA_F_DEPRECATED: Final = 0x20
_IFA_F_TENTATIVE: Final = 0x40
_UNUSABLE_FLAGS: Final = _IFA_F_DADFAILED | _IFA_F_DEPRECATED | _IFA_F_TENTATIVE

_PROBES: Final = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))
"""Documentation addresses, only looked up in the routing table: the way to anywhere else."""


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address of this host that a peer may be reached from.

    Attributes:
        local_preference: 65535 for the one that the default route uses, then downwards.
    """

    ip: IPAddress
    interface: str
    local_preference: int


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What of the host's network matters to paths; equal values mean that nothing changed."""

    addresses: tuple[LocalAddress, ...]
    default_sources: tuple[IPAddress, ...]
    """Source address of each family's (marked) default route."""


class InterfaceWatch:
    """Reports the host's network at first and after every change.

    Args:
        exclude: names of interfaces to leave out: the tunnel's own.
        mark: SO_MARK with which source addresses are looked up, so that routes into the tunnel
            do not count.
        on_change: gets the whole network.
    """

    def __init__(
        self, *, exclude: frozenset[str], mark: int, on_change: Callable[[HostNetwork], None]
    ) -> None:
        self._exclude = exclude
        self._mark = mark
        self._on_change = on_change
        self._known: HostNetwork | None = None

    async def run(self) -> None:
        """Watch until cancelled; a lost netlink socket is opened again."""
        while True:
            try:
                async with AsyncIPRoute() as netlink:
                    await netlink.bind(
                        groups=rtnl.RTMGRP_LINK
                        | rtnl.RTMGRP_IPV4_IFADDR
                        | rtnl.RTMGRP_IPV6_IFADDR
                        | rtnl.RTMGRP_IPV4_ROUTE
                        | rtnl.RTMGRP_IPV6_ROUTE
                    )
                    await self._watch(netlink)
            except (OSError, NetlinkError) as error:
                _log.debug("netlink lost, opened again", extra={"error": str(error)})
                await asyncio.sleep(DEBOUNCE)

    async def _watch(self, netlink: Any) -> None:
        changed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_listen(netlink, changed))
            while True:
                changed.clear()
                await self._look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK):
                        await changed.wait()
                    await asyncio.sleep(DEBOUNCE)

    async def _look(self) -> None:
        async with AsyncIPRoute() as netlink:
            network = await read_network(netlink, exclude=self._exclude, mark=self._mark)
        if network != self._known:
            self._known = network
            self._on_change(network)


async def read_network(netlink: Any, *, exclude: frozenset[str], mark: int) -> HostNetwork:
    """Read the usable addresses, best first."""
    names: dict[int, str] = {}
    async for link in await netlink.link("dump"):
        name = str(link.get("ifname"))
        info = link.get("linkinfo")
        kind = info.get("kind") if info is not None else None
        up = link["flags"] & 1
        ours = name not in exclude and kind not in IGNORED_KINDS
        if up and ours and not IGNORED_NAMES.match(name):
            names[link["index"]] = name
    sources = tuple(ip for probe in _PROBES if (ip := source_for(probe, mark)) is not None)
    found: list[tuple[IPAddress, str]] = []
    async for address in await netlink.addr("dump"):
        ip = ip_address(str(address.get("local") or address.get("address")))
        flags = address.get("flags") or 0
        if address["index"] not in names or not is_reachable_address(ip):
            continue
        if ip.version == 6 and (flags & _UNUSABLE_FLAGS or flags & _IFA_F_TEMPORARY):
            continue
        found.append((ip, names[address["index"]]))
    # The sources of the default routes first; IPv6 before IPv4 among equals (RFC 8421 §3).
    found.sort(key=lambda item: (item[0] not in sources, -item[0].version, int(item[0])))
    return HostNetwork(
        tuple(
            LocalAddress(ip, name, DEFAULT_LOCAL_PREFERENCE - 2 * rank)
            for rank, (ip, name) in enumerate(found)
        ),
        sources,
    )


def source_for(destination: IPAddress, mark: int) -> IPAddress | None:
    """Return the source address of a marked packet to `destination`; `None`: no route.

    A connected UDP socket asks the kernel exactly the question that WireGuard asks; nothing is
    sent.
    """
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if mark:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            probe.connect((str(destination), 9))
            source = ip_address(probe.getsockname()[0].partition("%")[0])
    except OSError:
        return None
    return source if is_reachable_address(source) else None


def endpoint_of(address: LocalAddress, port: int) -> Endpoint:
    """Return the transport address that WireGuard's port has there."""
    return Endpoint(address.ip, port)


async def _listen(netlink: Any, changed: asyncio.Event) -> None:
    while True:
        async for _ in netlink.get():
            changed.set()
