"""The network interface, by rtnetlink: what both back ends have in common."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..errors import BackendError, BackendUnavailableError, InterfaceError, PrivilegeError
from .changes import AddAddress, RemoveAddress, SetMtu, SetUp

LinkChange = AddAddress | RemoveAddress | SetMtu | SetUp

MAIN_TABLE: Final = 254
"""RT_TABLE_MAIN of rtnetlink(7)."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """An interface; `kind` is what rtnetlink calls it, such as `wireguard` or `tun`."""

    index: int
    kind: str | None
    alias: str
    mtu: int
    up: bool
    addresses: frozenset[IPv4Interface | IPv6Interface]


async def read_link(name: str) -> LinkState | None:
    """Read an interface; `None`: there is none of this name."""
    with translated("read the interface"):
        async with AsyncIPRoute() as netlink:
            link = await _find(netlink, name)
            if link is None:
                return None
            info = link.get("linkinfo")
            addresses = [
                ip_interface(f"{a.get('local') or a.get('address')}/{a['prefixlen']}")
                async for a in await netlink.addr("dump", index=link["index"])
                if a["index"] == link["index"]
            ]
            return LinkState(
                index=link["index"],
                kind=None if info is None else info.get("kind"),
                alias=str(link.get("ifalias") or ""),
                mtu=int(link.get("mtu") or 0),
                up=bool(link["flags"] & 1),
                # The kernel gives IPv6 link-local addresses by itself.
                addresses=frozenset(a for a in addresses if not a.ip.is_link_local),
            )


async def create_wireguard_link(name: str) -> None:
    """Create a kernel WireGuard interface.

    Raises:
        InterfaceError: the name is taken.
        PrivilegeError: CAP_NET_ADMIN is missing.
        BackendUnavailableError: this kernel has no WireGuard.
    """
    with translated("create the interface"):
        async with AsyncIPRoute() as netlink:
            await netlink.link("add", ifname=name, kind="wireguard")


async def set_alias(name: str, alias: str) -> None:
    """Tag an interface."""
    with translated("tag the interface"):
        async with AsyncIPRoute() as netlink:
            link = await _find(netlink, name)
            if link is None:
                raise BackendError(f"interface {name} has vanished")
            await netlink.link("set", index=link["index"], ifalias=alias)


async def delete_link(name: str) -> None:
    """Remove an interface; harmless if there is none."""
    with translated("remove the interface"):
        async with AsyncIPRoute() as netlink:
            link = await _find(netlink, name)
            if link is None:
                return
            try:
                await netlink.link("del", index=link["index"])
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise


async def apply_to_link(name: str, change: LinkChange) -> None:
    """Make one change; an address that is there, or not there, already is no error."""
    with translated(f"change {name}"):
        async with AsyncIPRoute() as netlink:
            link = await _find(netlink, name)
            if link is None:
                raise BackendError(f"interface {name} has vanished")
            index = link["index"]
            match change:
                case SetMtu(mtu=mtu):
                    await netlink.link("set", index=index, mtu=mtu)
                case SetUp():
                    await netlink.link("set", index=index, state="up")
                case AddAddress(address=address):
                    await _address(netlink, "add", index, address, ignore=errno.EEXIST)
                case RemoveAddress(address=address):
                    await _address(netlink, "del", index, address, ignore=errno.EADDRNOTAVAIL)


async def clashing_routes(subnet: str, interface: str) -> list[str]:
    """Return the routes of the main table, `interface`'s aside, that overlap `subnet`."""
    wanted = ip_network(subnet)
    clashes: list[str] = []
    with translated("read the routes"):
        async with AsyncIPRoute() as netlink:
            names = {
                link["index"]: str(link.get("ifname")) async for link in await netlink.link("dump")
            }
            async for route in await netlink.route("dump", family=2, table=MAIN_TABLE):
                destination = route.get("dst")
                name = names.get(route.get("oif") or 0, "?")
                if not destination or route["dst_len"] == 0 or name == interface:
                    continue
                network = ip_network(f"{destination}/{route['dst_len']}")
                if network.version == wanted.version and network.overlaps(wanted):
                    clashes.append(f"{network} dev {name}")
    return clashes


async def _find(netlink: Any, name: str) -> Any | None:
    try:
        links = await netlink.link("get", ifname=name)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return None
    return links[0] if links else None


async def _address(
    netlink: Any,
    verb: str,
    index: int,
    address: IPv4Interface | IPv6Interface,
    *,
    ignore: int,
) -> None:
    try:
        await netlink.addr(
            verb, index=index, address=str(address.ip), prefixlen=address.network.prefixlen
        )
    except NetlinkError as error:
        if error.code != ignore:
            raise


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
            case _:
                raise BackendError(f"cannot {what}: {error}") from error
    except OSError as error:
        raise BackendError(f"cannot {what}: {error}") from error
