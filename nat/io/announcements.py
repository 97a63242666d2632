"""Listens for gateways that announce a restart (RFC 6887 §14.1.1, RFC 6886 §3.2.1)."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from ..machine import Datagram, Endpoint
from ..portmap.values import ANNOUNCEMENT_PORT

_log = logging.getLogger(__name__)

GROUPS: Final = ((socket.AF_INET, "224.0.0.1"), (socket.AF_INET6, "ff02::1"))
"""All hosts of a link; the kernel is a member of both on every interface."""

MAX_DATAGRAM: Final = 1100
"""Bytes of the longest message (RFC 6887 §7)."""

BATCH: Final = 16
"""Datagrams read in one go: anybody on the link can send there."""


class Announcements:
    """Sockets on the port for announcements, as far as they can be had; others may share it.

    Args:
        on_datagram: gets each datagram; its destination is the group's address.
    """

    def __init__(self, on_datagram: Callable[[Datagram], None]) -> None:
        self._on_datagram = on_datagram
        self._sockets: list[socket.socket] = []

    def open(self) -> None:
        """Open what can be opened: without it a restart is noticed later, by the epoch."""
        loop = asyncio.get_running_loop()
        for family, group in GROUPS:
            try:
                sock = _open(family, group)
            except OSError as error:
                extra = {"family": group, "error": str(error)}
                _log.debug("announcements of gateways are not heard", extra=extra)
                continue
            self._sockets.append(sock)
            loop.add_reader(sock.fileno(), self._on_readable, sock, group)

    def close(self) -> None:
        """Close the sockets; harmless if they are not open."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _on_readable(self, sock: socket.socket, group: str) -> None:
        destination = Endpoint(ip_address(group), ANNOUNCEMENT_PORT)
        with suppress(OSError):
            for _ in range(BATCH):
                payload, address = sock.recvfrom(MAX_DATAGRAM)
                source = ip_address(address[0].partition("%")[0])
                self._on_datagram(Datagram(Endpoint(source, address[1]), destination, payload))


def _open(family: int, group: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Bound to the group, so that nothing sent to us alone can pose as an announcement.
        sock.bind((group, ANNOUNCEMENT_PORT))
    except OSError:
        sock.close()
        raise
    return sock
