"""SSDP: finds the gateway's description (UPnP Device Architecture 2.0 §1.3, Annex A for IPv6)."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import PortMappingError
from ..machine import IPAddress
from ..portmap.ssdp import GROUPS, PORT, encode_search, parse_answer
from ..portmap.values import Uplink
from .gateways import is_gateway

TARGETS: Final = {
    4: (
        "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
        "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    ),
    6: ("urn:schemas-upnp-org:device:InternetGatewayDevice:2",),
}
"""What is searched for; version 1 is answered by most, and has no pinholes."""

WAITS: Final = (0.7, 2.3)
"""Seconds to wait for answers after the first and the second search: UDP loses some, MX asks for
an answer within one second, and slow routers take two."""

MAX_DATAGRAM: Final = 2048
"""Bytes of an answer that are read."""

TTL: Final = 2
"""Hops of a search (UPnP Device Architecture 2.0 §1.1.2)."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the gateway's description is.

    Attributes:
        host: the gateway's address in the URL, and in all that we fetch.
    """

    url: str
    host: IPAddress


async def search(uplink: Uplink, mark: int) -> Location | None:
    """Return where the gateway's description is; `None`: it does not answer."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    with _open(uplink, mark) as sock:
        # Not `loop.sock_recvfrom`, which uvloop does not have.
        loop.add_reader(sock.fileno(), readable.set)
        try:
            for wait in WAITS:
                _send(sock, uplink)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        return await _receive(sock, readable, uplink)
        finally:
            loop.remove_reader(sock.fileno())
    return None


def leads_to(url: str, host: IPAddress) -> bool:
    """Tell whether a URL is one of the gateway itself, over plain HTTP as UPnP has it."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
        named = ip_address(parts.hostname or "")
    except ValueError:
        return False
    return parts.scheme == "http" and named == host and port > 0


def _send(sock: socket.socket, uplink: Uplink) -> None:
    for destination, target in _searches(uplink):
        group = GROUPS[uplink.base.ip.version]
        with suppress(OSError):
            sock.sendto(encode_search(target, group), _address(destination, uplink))


async def _receive(sock: socket.socket, readable: asyncio.Event, uplink: Uplink) -> Location:
    while True:
        # One datagram a turn of the loop: whoever floods us, and whatever fails for ever, keeps
        # neither the timeout nor anybody else waiting.
        await readable.wait()
        readable.clear()
        with suppress(OSError):  # nothing there any more, or an ICMP error of one destination
            payload, (source, *_) = sock.recvfrom(MAX_DATAGRAM)
            location = _location(payload, source)
            if location is not None and await _is_gateway(location.host, uplink):
                return location


async def _is_gateway(ip: IPAddress, uplink: Uplink) -> bool:
    return ip == uplink.gateway.ip or await asyncio.to_thread(is_gateway, ip, uplink.gateway)


def _searches(uplink: Uplink) -> Iterator[tuple[str, str]]:
    """Yield whom to ask for what: the gateway itself too, since some networks drop multicast."""
    version = uplink.base.ip.version
    for target in TARGETS[version]:
        yield GROUPS[version], target
    yield str(uplink.gateway.ip), TARGETS[version][-1]


def _location(payload: bytes, source: str) -> Location | None:
    """Read an answer; one that leads to another host than it comes from is none."""
    try:
        host = ip_address(source.partition("%")[0])
        found = parse_answer(payload)
    except (PortMappingError, ValueError):
        return None
    answers = "InternetGatewayDevice" in found.target and leads_to(found.location, host)
    return Location(found.location, host) if answers else None


def _open(uplink: Uplink, mark: int) -> socket.socket:
    v4 = uplink.base.ip.version == 4
    sock = socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.bind((str(uplink.base.ip), 0))
        if v4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, uplink.base.ip.packed)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
        else:
            index = socket.if_nametoindex(uplink.gateway.interface)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, TTL)
    except OSError:
        sock.close()
        raise
    return sock


def _address(ip: str, uplink: Uplink) -> Any:
    if uplink.base.ip.version == 4:
        return ip, PORT
    return ip, PORT, 0, socket.if_nametoindex(uplink.gateway.interface)
