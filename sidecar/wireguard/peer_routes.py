"""Routes to single peers with an MTU of their own, by rtnetlink, beside the subnet's route."""

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any, Final

from pyroute2.netlink.exceptions import NetlinkError

from .changes import AddPeerRoute, RemovePeerRoute
from .device import PeerRoute

PROTOCOL: Final = 107
"""Who made a route (rtm_protocol of rtnetlink(7)), a `k`: only our own are read and removed."""

MAIN_TABLE: Final = 254
"""RT_TABLE_MAIN of rtnetlink(7)."""

_SCOPE_LINK: Final = 253


def read_routes(netlink: Any, index: int) -> Iterator[PeerRoute]:
    """Return the routes of ours that lead into an interface."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for route in netlink.route("dump", family=family, oif=index, proto=PROTOCOL):
            if route.get("oif") != index or route["proto"] != PROTOCOL:
                continue
            metrics = route.get("metrics")
            mtu = None if metrics is None else metrics.get("mtu")
            if mtu is not None and route.get("dst"):
                yield PeerRoute(ip_network(f"{route.get('dst')}/{route['dst_len']}"), mtu)


def change_route(netlink: Any, index: int, change: AddPeerRoute | RemovePeerRoute) -> None:
    """Add, replace or remove one; removing what is not there is no error.

    Raises:
        NetlinkError: the kernel refuses.
    """
    match change:
        case AddPeerRoute(route=route):
            netlink.route(
                "replace",
                dst=str(route.destination),
                oif=index,
                table=MAIN_TABLE,
                proto=PROTOCOL,
                scope=_SCOPE_LINK,
                metrics={"mtu": route.mtu},
            )
        case RemovePeerRoute(destination=destination):
            try:
                netlink.route(
                    "del",
                    dst=str(destination),
                    oif=index,
                    table=MAIN_TABLE,
                    proto=PROTOCOL,
                    scope=_SCOPE_LINK,
                )
            except NetlinkError as error:
                if error.code != errno.ESRCH:
                    raise
