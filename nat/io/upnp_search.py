"""SSDP: finds the gateway's description (UPnP Device Architecture 2.0 §1.3)."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from ..errors import PortMappingError
from ..portmap.ssdp import encode_search, parse_answer
from ..portmap.values import Uplink

GROUP: Final = "239.255.255.250"
"""Where searches go."""

PORT: Final = 1900
"""Of SSDP."""

TARGETS: Final = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
)
"""What is searched for; version 1 is answered by most."""

WAITS: Final = (0.7, 2.3)
"""Seconds to wait for answers after the first and the second search: UDP loses some, MX asks for
an answer within one second, and slow routers take two."""

MAX_DATAGRAM: Final = 2048
"""Bytes of an answer that are read."""

TTL: Final = 2
"""Hops of a search (UPnP Device Architecture 2.0 §1.1.2)."""


async def search(uplink: Uplink, mark: int) -> str | None:
    """Return the URL of the gateway's description; `None`: it does not answer."""
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


def leads_to_gateway(url: str, uplink: Uplink) -> bool:
    """Tell whether a URL is one of the gateway itself, over plain HTTP as UPnP has it."""
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname == str(uplink.gateway.ip) and port > 0


def _send(sock: socket.socket, uplink: Uplink) -> None:
    for destination, target in _searches(uplink):
        with suppress(OSError):
            sock.sendto(encode_search(target), (destination, PORT))


async def _receive(sock: socket.socket, readable: asyncio.Event, uplink: Uplink) -> str:
    while True:
        # One datagram a turn of the loop: whoever floods us, and whatever fails for ever, keeps
        # neither the timeout nor anybody else waiting.
        await readable.wait()
        readable.clear()
        with suppress(OSError):  # nothing there any more, or an ICMP error of one destination
            payload, address = sock.recvfrom(MAX_DATAGRAM)
            location = _location(payload, address, uplink)
            if location is not None:
                return location


def _searches(uplink: Uplink) -> Iterator[tuple[str, str]]:
    """Yield whom to ask for what: the gateway itself too, since some networks drop multicast."""
    for target in TARGETS:
        yield GROUP, target
    yield str(uplink.gateway.ip), TARGETS[-1]


def _location(payload: bytes, address: tuple[str, int], uplink: Uplink) -> str | None:
    if address[0] != str(uplink.gateway.ip):
        return None
    try:
        found = parse_answer(payload)
    except PortMappingError:
        return None
    answers = "InternetGatewayDevice" in found.target
    return found.location if answers and leads_to_gateway(found.location, uplink) else None


def _open(uplink: Uplink, mark: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.bind((str(uplink.base.ip), 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, uplink.base.ip.packed)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
    except OSError:
        sock.close()
        raise
    return sock
