"""The gateways that a port mapping can be asked of, and the local endpoints behind each."""

import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..machine import IPAddress
from ..portmap.values import Gateway, Uplink
from .interfaces import HostNetwork, endpoint_of

MAX_UPLINKS: Final = 6
"""Mappings that are kept at once: a few uplinks of two families."""

_UNIQUE_LOCAL: Final = 0xFC
"""First byte, but for its last bit, of IPv6 addresses that no gateway leads to from outside."""


def find_uplinks(network: HostNetwork, port: int) -> tuple[Uplink, ...]:
    """Return an uplink for each usable address that has a gateway, best first.

    Of several IPv4 addresses of one interface only the best counts: they share the gateway, and
    one mapping is enough. Each IPv6 address is an endpoint of its own and needs its own pinhole.
    Blocks for a system call.
    """
    hardware = _hardware_addresses()
    found: dict[object, Uplink] = {}
    for address in network.addresses:
        for index, text in sorted(network.gateways):
            if index != address.uplink or not text:
                continue
            gateway = ip_address(text)
            if gateway.version != address.ip.version or not _needs_gateway(address.ip):
                continue
            # The addresses of an interface come and go; that of its gateway stays.
            known = hardware.get((index, gateway))
            place = (index, gateway) if gateway.version == 4 else address.ip
            uplink = Uplink(Gateway(gateway, address.interface, known), endpoint_of(address, port))
            found.setdefault(place, uplink)
    return tuple(found.values())[:MAX_UPLINKS]


def is_gateway(ip: IPAddress, gateway: Gateway) -> bool:
    """Tell whether an address is another one of the gateway's, by the hardware that answers for both.

    A router that is known by its link-local address answers from its global one. Blocks for a
    system call.
    """
    if gateway.hardware_address is None:
        return False
    with suppress(OSError, NetlinkError):
        index = socket.if_nametoindex(gateway.interface)
        return _hardware_addresses().get((index, ip)) == gateway.hardware_address
    return False


def _needs_gateway(ip: IPAddress) -> bool:
    return ip.version == 4 or ip.packed[0] & 0xFE != _UNIQUE_LOCAL


def _hardware_addresses() -> dict[tuple[int, IPAddress], str]:
    """Read the neighbours whose hardware address is known."""
    found: dict[tuple[int, IPAddress], str] = {}
    with IPRoute() as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for neighbour in netlink.neigh("dump", family=family):
                with suppress(ValueError):
                    ip = ip_address(str(neighbour.get("dst")))
                    if address := neighbour.get("lladdr"):
                        found[neighbour["ifindex"], ip] = str(address)
    return found
