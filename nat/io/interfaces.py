"""The host's own addresses by netlink, and every change of them (design D10)."""

import asyncio
import logging
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError

from ..candidate import DEFAULT_LOCAL_PREFERENCE, is_reachable_address
from ..machine import Endpoint, IPAddress
from .ways import IPNetwork, Ways

_log = logging.getLogger(__name__)

DEBOUNCE: Final = 0.05
"""Seconds that a change waits for those that follow it: a new link brings a burst."""

LONGEST_PAUSE: Final = 5.0
"""Seconds, at most, until netlink is opened again where that fails again and again: the pause begins
with `DEBOUNCE` and doubles, so that a host that is short of something is not kept busy."""

RECHECK: Final = 60.0
"""Seconds between looks without any event: netlink may lose some."""

IGNORED_NAMES: Final = re.compile(
    r"^(lo$|docker|br-[0-9a-f]{12}$|veth|virbr|cni|flannel|cali|podman|lxc)"
)
"""Interfaces that lead to this machine's own containers, by name: a container's own `eth0` is a
veth too and its only way out, and `br-lan` or `br-ex` is a bridge of the operator's."""

IGNORED_KINDS: Final = frozenset({"wireguard", "tun", "ifb"})
"""Kinds of links that are tunnels themselves, or nowhere."""

_NETLINK_ROUTE: Final = 0
_RTN_UNICAST: Final = 1
_CONNECTED: Final = frozenset({2, 9})
"""Origins of routes to neighbours (RTPROT_KERNEL, RTPROT_RA): they come with an address."""
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
        uplink: index of the interface if it leads further than to its neighbours; else 0.
    """

    ip: IPAddress
    interface: str
    local_preference: int
    uplink: int = 0


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What of the host's network matters to paths; equal values mean that nothing changed."""

    addresses: tuple[LocalAddress, ...]
    default_sources: tuple[IPAddress, ...]
    """Source address of each family's (marked) default route."""

    gateways: frozenset[tuple[int, str]] = frozenset()
    """Interface (index) and gateway of each default route in any table: behind another gateway
    is another NAT, even if no address of ours has changed."""

    mtu: int | None = None
    """Of the narrowest interface that has a default route, in bytes; `None`: there is none."""

    near: frozenset[IPNetwork] = frozenset()
    """Networks that begin at an interface of this host which is no uplink: its containers'."""

    @property
    def ways(self) -> Ways:
        """By which interface datagrams leave."""
        return Ways({a.ip: a.uplink for a in self.addresses if a.uplink}, self.near)


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
        loop, pause = asyncio.get_running_loop(), DEBOUNCE
        while True:
            began = loop.time()
            try:
                await self._watch()
            except (OSError, NetlinkError) as error:
                _log.debug("netlink lost, opened again", extra={"error": str(error)})
                lasted = loop.time() - began > LONGEST_PAUSE
                pause = DEBOUNCE if lasted else min(2 * pause, LONGEST_PAUSE)
                await asyncio.sleep(pause)

    async def _watch(self) -> None:
        changed = asyncio.Event()
        with _notifications(changed):
            while True:
                changed.clear()
                network = await asyncio.to_thread(
                    read_network, exclude=self._exclude, mark=self._mark
                )
                if network != self._known:
                    self._known = network
                    self._on_change(network)
                with suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK):
                        await changed.wait()
                    await asyncio.sleep(DEBOUNCE)


def read_network(*, exclude: frozenset[str], mark: int) -> HostNetwork:
    """Read the usable addresses, best first. Blocks for a few system calls.

    The library's event loop neither nests in another nor runs on uvloop, so this is for a thread.
    """
    with IPRoute() as netlink:
        links = list(netlink.link("dump"))
        names = _usable_links(links, exclude)
        sources = tuple(ip for probe in _PROBES if (ip := source_for(probe, mark)) is not None)
        routes = list(netlink.route("dump"))
        uplinks = _uplinks(routes)
        found = list(_usable_addresses(netlink, names))
        ways_out = {index for ip, index in found if ip in sources}
        mtus = [
            int(link.get("mtu")) for index in ways_out for link in netlink.link("get", index=index)
        ]
    # The sources of the default routes first; IPv6 before IPv4 among equals (RFC 8421 §3).
    found.sort(key=lambda item: (item[0] not in sources, -item[0].version, int(item[0])))
    return HostNetwork(
        tuple(
            LocalAddress(
                ip,
                names[index],
                DEFAULT_LOCAL_PREFERENCE - 2 * rank,
                index if (index, ip.version) in uplinks else 0,
            )
            for rank, (ip, index) in enumerate(found)
        ),
        sources,
        _gateways(routes),
        min(mtus, default=None),
        _near(routes, uplinks, _cables(links, exclude)),
    )


def _usable_links(links: Sequence[Any], exclude: frozenset[str]) -> dict[int, str]:
    cables = _cables(links, exclude)
    return {index: name for index, name in cables.items() if not IGNORED_NAMES.match(name)}


def _cables(links: Sequence[Any], exclude: frozenset[str]) -> dict[int, str]:
    """Return the links that are up and no tunnels: those to this host's own containers, too."""
    names: dict[int, str] = {}
    for link in links:
        name = str(link.get("ifname"))
        info = link.get("linkinfo")
        kind = info.get("kind") if info is not None else None
        if link["flags"] & 1 and name not in exclude and kind not in IGNORED_KINDS:
            names[link["index"]] = name
    return names


def _near(
    routes: Sequence[Any], uplinks: frozenset[tuple[int, int]], cables: Mapping[int, str]
) -> frozenset[IPNetwork]:
    """Return the networks that the addresses of interfaces other than the uplinks are in."""
    return frozenset(
        ip_network(f"{route.get('dst')}/{route['dst_len']}")
        for route in routes
        if route["proto"] in _CONNECTED and route["type"] == _RTN_UNICAST
        if route.get("dst") and not route.get("gateway")
        if route.get("oif") in cables
        if (route.get("oif"), 4 if route["family"] == socket.AF_INET else 6) not in uplinks
    )


def _uplinks(routes: Sequence[Any]) -> frozenset[tuple[int, int]]:
    """Return the interfaces (index, IP version) that lead beyond their own link.

    Routes of all tables count, because hosts with several uplinks often have a table for each.
    Addresses of other interfaces, such as `dummy0`, leave by whatever way the routes have.
    """
    return frozenset(
        (oif, 4 if route["family"] == socket.AF_INET else 6)
        for route in routes
        for oif, gateway in _hops(route)
        if gateway or _is_default(route)
    )


def _gateways(routes: Sequence[Any]) -> frozenset[tuple[int, str]]:
    return frozenset(hop for route in routes if _is_default(route) for hop in _hops(route))


def _is_default(route: Any) -> bool:
    return bool(route["dst_len"] == 0 and route["type"] == _RTN_UNICAST)


def _hops(route: Any) -> list[tuple[int, str]]:
    """Return interface and gateway of each next hop; without a gateway it is the link itself."""
    hops = route.get("multipath") or [route]
    return [(hop.get("oif"), str(hop.get("gateway") or "")) for hop in hops if hop.get("oif")]


def _usable_addresses(netlink: Any, names: dict[int, str]) -> Iterator[tuple[IPAddress, int]]:
    for address in netlink.addr("dump"):
        ip = ip_address(str(address.get("local") or address.get("address")))
        flags = address.get("flags") or 0
        if address["index"] not in names or not is_reachable_address(ip):
            continue
        if ip.version == 6 and flags & (_UNUSABLE_FLAGS | _IFA_F_TEMPORARY):
            continue
        yield ip, address["index"]


def source_for(destination: IPAddress, mark: int) -> IPAddress | None:
    """Return the address of a candidate that marked packets to `destination` leave from."""
    source = usual_source(destination, mark)
    return source if source is not None and is_reachable_address(source) else None


def usual_source(destination: IPAddress, mark: int) -> IPAddress | None:
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
            return ip_address(probe.getsockname()[0].partition("%")[0])
    except OSError:
        return None


def endpoint_of(address: LocalAddress, port: int) -> Endpoint:
    """Return the transport address that WireGuard's port has there."""
    return Endpoint(address.ip, port)


@contextmanager
def _notifications(changed: asyncio.Event) -> Iterator[None]:
    """Set `changed` at every change of links, addresses and routes while the context is open."""
    groups = (
        rtnl.RTMGRP_LINK
        | rtnl.RTMGRP_IPV4_IFADDR
        | rtnl.RTMGRP_IPV6_IFADDR
        | rtnl.RTMGRP_IPV4_ROUTE
        | rtnl.RTMGRP_IPV6_ROUTE
    )
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as netlink:
        netlink.setblocking(False)
        netlink.bind((0, groups))

        def drain() -> None:
            changed.set()
            # What changed is read anew as a whole, so lost messages (ENOBUFS) do no harm.
            with suppress(OSError):
                while netlink.recv(1 << 16):
                    pass

        loop.add_reader(netlink.fileno(), drain)
        try:
            yield
        finally:
            loop.remove_reader(netlink.fileno())
