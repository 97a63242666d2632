"""The network interface, by rtnetlink: what both back ends have in common."""

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..errors import (
    BackendError,
    BackendUnavailableError,
    InterfaceError,
    PortInUseError,
    PrivilegeError,
)
from .changes import (
    AddAddress,
    AddPeerRoute,
    LinkChange,
    RemoveAddress,
    RemovePeerRoute,
    SetMtu,
    SetUp,
)
from .device import PeerRoute
from .peer_routes import MAIN_TABLE, change_route, read_routes

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LinkState:
    """An interface; `kind` is what rtnetlink calls it, such as `wireguard` or `tun`.

    Attributes:
        ipv6: whether it can have IPv6 addresses: neither the host nor the container forbids it.
    """

    index: int
    kind: str | None
    alias: str
    mtu: int
    up: bool
    addresses: frozenset[IPv4Interface | IPv6Interface]
    ipv6: bool
    routes: frozenset[PeerRoute]


async def read_link(name: str) -> LinkState | None:
    """Read an interface; `None`: there is none of this name."""
    return await on_thread(_read_link, name)


async def create_wireguard_link(name: str, alias: str) -> None:
    """Create a kernel WireGuard interface with its tag; nothing is left if either fails.

    Raises:
        InterfaceError: the name is taken.
        PrivilegeError: CAP_NET_ADMIN is missing.
        BackendUnavailableError: this kernel has no WireGuard.
    """
    await on_thread(_create, name, alias)


async def kernel_has_wireguard() -> bool:
    """Try it: create an interface and remove it again.

    Raises:
        PrivilegeError: CAP_NET_ADMIN is missing.
    """
    return await on_thread(_try_wireguard)


async def set_alias(name: str, alias: str) -> None:
    """Tag an interface."""
    await on_thread(_set_alias, name, alias)


async def delete_link(name: str) -> None:
    """Remove an interface; harmless if there is none."""
    await on_thread(_delete, name)


async def apply_to_link(name: str, change: LinkChange) -> None:
    """Make one change; an address that is there, or not there, already is no error."""
    await on_thread(_apply, name, change)


async def clashing_routes(subnet: str, interface: str) -> list[str]:
    """Return the routes of the main table, `interface`'s aside, that overlap `subnet`."""
    return await on_thread(_clashing_routes, subnet, interface)


async def on_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run netlink calls of the library, whose event loop neither nests in ours nor is uvloop.

    They take a millisecond. A call that is cancelled ends first: otherwise the thread would go on
    beside whatever comes next, and make an interface again that was just removed.
    """
    thread = asyncio.get_running_loop().run_in_executor(None, lambda: work(*args, **kwargs))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        thread.exception()
        raise


def _read_link(name: str) -> LinkState | None:
    with rtnetlink("read the interface") as netlink:
        link = _find(netlink, name)
        if link is None:
            return None
        info = link.get("linkinfo")
        index = link["index"]
        addresses = [
            ip_interface(f"{a.get('local') or a.get('address')}/{a['prefixlen']}")
            for a in netlink.addr("dump", index=index)
            if a["index"] == index
        ]
        return LinkState(
            index=index,
            kind=None if info is None else info.get("kind"),
            alias=str(link.get("ifalias") or ""),
            mtu=int(link.get("mtu") or 0),
            up=bool(link["flags"] & 1),
            # The kernel gives IPv6 link-local addresses by itself.
            addresses=frozenset(a for a in addresses if not a.ip.is_link_local),
            ipv6=_has_ipv6(name),
            routes=frozenset(read_routes(netlink, index)),
        )


def _has_ipv6(name: str) -> bool:
    """Read what the kernel would refuse an address for; without IPv6 there is no such file."""
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip() == "0"
    except OSError:
        return False


def _create(name: str, alias: str) -> None:
    with rtnetlink("create the interface") as netlink:
        netlink.link("add", ifname=name, kind="wireguard")
    try:
        _set_alias(name, alias)
    except BaseException:
        _delete(name)
        raise


def _try_wireguard() -> bool:
    name = f"kbwg-{secrets.token_hex(4)}"
    try:
        _create(name, "kbwg: does this kernel have WireGuard?")
    except BackendUnavailableError:
        return False
    _delete(name)
    return True


def _set_alias(name: str, alias: str) -> None:
    with rtnetlink("tag the interface") as netlink:
        netlink.link("set", index=_index(netlink, name), ifalias=alias)


def _delete(name: str) -> None:
    with rtnetlink("remove the interface") as netlink:
        link = _find(netlink, name)
        if link is None:
            return
        try:
            netlink.link("del", index=link["index"])
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise


def _apply(name: str, change: LinkChange) -> None:
    with rtnetlink(f"change {name}") as netlink:
        index = _index(netlink, name)
        match change:
            case SetMtu(mtu=mtu):
                netlink.link("set", index=index, mtu=mtu)
            case SetUp():
                netlink.link("set", index=index, state="up")
            case AddPeerRoute() | RemovePeerRoute():
                change_route(netlink, index, change)
            case AddAddress(address=address):
                _address(netlink, "add", index, address, ignore=errno.EEXIST)
            case RemoveAddress(address=address):
                _address(netlink, "del", index, address, ignore=errno.EADDRNOTAVAIL)


def _clashing_routes(subnet: str, interface: str) -> list[str]:
    wanted = ip_network(subnet)
    clashes: list[str] = []
    with rtnetlink("read the routes") as netlink:
        names = {link["index"]: str(link.get("ifname")) for link in netlink.link("dump")}
        for route in netlink.route("dump", family=socket.AF_INET, table=MAIN_TABLE):
            destination = route.get("dst")
            name = names.get(route.get("oif") or 0, "?")
            if not destination or route["dst_len"] == 0 or name == interface:
                continue
            network = ip_network(f"{destination}/{route['dst_len']}")
            if network.version == wanted.version and network.overlaps(wanted):
                clashes.append(f"{network} dev {name}")
    return clashes


def _find(netlink: Any, name: str) -> Any | None:
    try:
        return next(iter(netlink.link("get", ifname=name)), None)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
    return None


def _index(netlink: Any, name: str) -> int:
    link = _find(netlink, name)
    if link is None:
        raise BackendError(f"interface {name} has vanished")
    return int(link["index"])


def _address(
    netlink: Any,
    verb: str,
    index: int,
    address: IPv4Interface | IPv6Interface,
    *,
    ignore: int,
) -> None:
    try:
        netlink.addr(
            verb, index=index, address=str(address.ip), prefixlen=address.network.prefixlen
        )
    except NetlinkError as error:
        if error.code != ignore:
            raise


@contextmanager
def rtnetlink(what: str) -> Iterator[Any]:
    """Open rtnetlink for one job, and turn its errors into ours."""
    with translated(what), IPRoute() as netlink:
        yield netlink


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn netlink's errors into ours."""
    try:
        yield
    except NetlinkError as error:
        match error.code:
            case errno.EPERM | errno.EACCES:
                raise PrivilegeError(f"no permission to {what}: CAP_NET_ADMIN is needed") from error
            case errno.EEXIST:
                raise InterfaceError(f"cannot {what}: the name is taken") from error
            case errno.EOPNOTSUPP:
                raise BackendUnavailableError("this kernel has no WireGuard") from error
            case errno.EADDRINUSE:
                # The kernel's WireGuard binds its port when the interface goes up.
                raise PortInUseError("the UDP port is in use") from error
            case _:
                raise BackendError(f"cannot {what}: {error}") from error
    except OSError as error:
        raise BackendError(f"cannot {what}: {error}") from error
