"""Many UDP ports of one address, opened for a short time: what port prediction needs of a host.

All of them stand behind one epoll, and hear nothing but STUN from the one endpoint that they were
opened for. A port that is kept hears nothing at all: it is only held, so that nobody else gets it.
"""

import asyncio
import errno
import logging
import select
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

from ..machine import Datagram, Endpoint, IPAddress
from .ancillary import sending
from .bpf import DROP_ALL, Program, peer_filter_v4
from .socket_filter import attach
from .ways import Ways

_log = logging.getLogger(__name__)

BATCH: Final = 64
"""Datagrams read in one go, so that a flood cannot keep the loop from its timers."""

MAX_DATAGRAM: Final = 2048
"""Bytes read of a datagram; checks are shorter."""

RECEIVE_BUFFER: Final = 4096
"""Bytes queued per port: a few checks, of which the first counts."""


class PortFan:
    """Ports of this host besides the shared one.

    Args:
        mark: SO_MARK of what is sent; 0 for none.
        on_datagram: gets each datagram; its destination is the port that it came to.
    """

    def __init__(self, *, mark: int, on_datagram: Callable[[Datagram], None]) -> None:
        self._mark = mark
        self._on_datagram = on_datagram
        self._ways = Ways()
        self._epoll: select.epoll | None = None
        self._open: dict[Endpoint, socket.socket] = {}
        self._kept: dict[Endpoint, socket.socket] = {}
        self.counters: Counter[str] = Counter()
        """Datagrams sent and received, and what failed, by reason."""

    def set_ways(self, ways: Ways) -> None:
        """Say by which interface datagrams leave."""
        self._ways = ways

    def open(self, ip: IPAddress, remote: Endpoint, count: int) -> list[int]:
        """Open up to `count` ports at `ip`, and return them; fewer if the host has no more.

        Those that were open before are closed.
        """
        self.close_open()
        if not isinstance(remote.ip, IPv4Address):
            return []
        try:
            self._epoll = select.epoll()
        except OSError as error:
            self._count("open", error)
            return []
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._on_readable, self._epoll)
        program = peer_filter_v4(remote.ip, remote.port)
        for _ in range(count):
            try:
                sock = self._socket(ip, 0, program)
                self._epoll.register(sock.fileno(), select.EPOLLIN)
            except OSError as error:
                self._count("open", error)
                _log.debug("no more ports", extra={"error": str(error)})
                break
            self._open[Endpoint(ip, sock.getsockname()[1])] = sock
        return [endpoint.port for endpoint in self._open]

    def has(self, local: Endpoint) -> bool:
        """Whether a port is open, so that `send` can use it."""
        return local in self._open

    def send(self, datagram: Datagram) -> None:
        """Send from an open port. What cannot be sent is counted, not raised."""
        sock = self._open.get(datagram.source)
        if sock is None:
            self.counters["send-closed"] += 1
            return
        destination = (str(datagram.destination.ip), datagram.destination.port)
        uplink = self._ways.interface(datagram.source.ip, datagram.destination.ip)
        beside = sending(datagram.source.ip, uplink, datagram.ttl)
        try:
            sock.sendmsg([datagram.payload], beside, 0, destination)
        except OSError as error:
            self._count("send", error)
            return
        self.counters["sent"] += 1

    def keep(self, local: Endpoint) -> None:
        """Hold an open port, deaf and mute, until it is released."""
        sock = self._open.pop(local, None)
        if sock is not None and self._epoll is not None:
            self._epoll.unregister(sock.fileno())
            attach(sock, DROP_ALL)
            self._kept[local] = sock

    def adopt(self, local: Endpoint) -> bool:
        """Hold a port that a former run had kept; whether it could be had."""
        try:
            self._kept[local] = self._socket(local.ip, local.port, DROP_ALL)
        except OSError as error:
            _log.debug("port not held", extra={"error": str(error)})
            return False
        return True

    def release(self, local: Endpoint) -> None:
        """Let a kept port go."""
        sock = self._kept.pop(local, None)
        if sock is not None:
            sock.close()

    def close_open(self) -> None:
        """Close the open ports; kept ones stay."""
        for sock in self._open.values():
            sock.close()
        self._open.clear()
        if self._epoll is not None:
            with suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def close(self) -> None:
        """Close everything."""
        self.close_open()
        for local in list(self._kept):
            self.release(local)

    def _socket(self, ip: IPAddress, port: int, program: Program) -> socket.socket:
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            # Before it is bound: nothing may slip in.
            attach(sock, program)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if self._mark:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            sock.bind((str(ip), port))
        except OSError:
            sock.close()
            raise
        return sock

    def _count(self, name: str, error: OSError) -> None:
        self.counters[f"{name}-{errno.errorcode.get(error.errno or 0, 'error')}"] += 1

    def _on_readable(self, epoll: select.epoll) -> None:
        readable = {fileno for fileno, _ in epoll.poll(0, BATCH)}
        ready = [(local, s) for local, s in self._open.items() if s.fileno() in readable]
        for local, sock in ready:
            if self._open.get(local) is not sock:
                continue  # closed since: one before it has won
            try:
                payload, address = sock.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                continue
            except OSError as error:
                self._count("receive", error)
                continue
            self.counters["received"] += 1
            source = Endpoint(IPv4Address(address[0]), address[1])
            self._on_datagram(Datagram(source, local, payload))
