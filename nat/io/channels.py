"""Where relayed data enters and leaves WireGuard: a loopback socket for each TURN channel.

To WireGuard the socket's endpoint is its peer's (anchors: a peer that is relayed lives on
127.0.0.1). Each socket is connected to WireGuard's port, so that the kernel drops what any other
program of this host sends to it.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from ..machine import Endpoint
from .mmsg import Inbox, Outbox, enable_gro

_log = logging.getLogger(__name__)

LOOPBACK: Final = IPv4Address("127.0.0.1")

RECEIVE_BUFFER: Final = 4 << 20
"""Bytes that wait while the event loop is busy: 30 ms at 1 Gbit/s, the kernel's overhead included.
What overflows is dropped by the kernel, as by any router."""

SEND_BUFFER: Final = 1 << 20
"""Bytes on their way to WireGuard; loopback delivers at once, so a full batch needs no more."""

_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33

Forward = Callable[[int, list[int], list[int], memoryview | None], None]
"""Takes a channel, addresses and lengths of datagrams from WireGuard, in order; and the datagram
itself, if it is a lone one."""


@dataclass(slots=True)
class _Plug:
    sock: socket.socket
    fd: int
    endpoint: Endpoint
    on_late: Callable[[], None] | None = None


class Channels:
    """The loopback sockets of the channels that are plugged.

    Args:
        data_port: WireGuard's listen port.
        forward: gets what WireGuard sends to a channel's endpoint; the memory is valid during the
            call.
        counters: gets datagrams sent to WireGuard and dropped.
    """

    def __init__(self, *, data_port: int, forward: Forward, counters: Counter[str]) -> None:
        self._data_port = data_port
        self._forward = forward
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox()
        self._outbox = Outbox(header_size=0, counters=counters, name="to-wireguard")
        self._plugs: dict[int, _Plug] = {}

    def __contains__(self, channel: int) -> bool:
        return channel in self._plugs

    def plug(self, channel: int) -> Endpoint:
        """Open the channel's socket; return the endpoint that WireGuard's peer gets.

        A channel that is plugged already keeps its endpoint, and stops draining.

        Raises:
            OSError: no socket is to be had.
        """
        if (known := self._plugs.get(channel)) is not None:
            known.on_late = None
            return known.endpoint
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            size_buffers(sock, receive=RECEIVE_BUFFER, send=SEND_BUFFER)
            # wireguard-go sends up to 64 KiB as one packet; the kernel's WireGuard does not.
            enable_gro(sock)
            sock.bind((str(LOOPBACK), 0))
            sock.connect((str(LOOPBACK), self._data_port))
        except OSError:
            sock.close()
            raise
        plug = _Plug(sock, sock.fileno(), Endpoint(LOOPBACK, sock.getsockname()[1]))
        self._plugs[channel] = plug
        self._loop.add_reader(plug.fd, self._on_readable, channel, plug)
        return plug.endpoint

    def unplug(self, channel: int) -> None:
        """Close the channel's socket; harmless if there is none."""
        plug = self._plugs.pop(channel, None)
        if plug is not None:
            self._loop.remove_reader(plug.fd)
            plug.sock.close()

    def drain(self, channel: int, on_late: Callable[[], None]) -> None:
        """Call `on_late` right after each batch that is still delivered to WireGuard.

        WireGuard moves a peer's endpoint to where its last packet came from, so a packet that was
        on its way over the relay when the peer moved to a direct path moves it back. Dropping it
        would lose data; instead the owner sets the endpoint again at once.
        """
        plug = self._plugs.get(channel)
        if plug is not None:
            plug.on_late = on_late

    def deliver(
        self,
        channel: int,
        addresses: Sequence[int],
        lengths: list[int],
        lone: memoryview | None = None,
    ) -> None:
        """Send datagrams to WireGuard as from the channel's endpoint."""
        plug = self._plugs.get(channel)
        if plug is None:
            self._counters["received-dropped-unplugged"] += len(lengths)
            return
        self._outbox.send(plug.sock, addresses, lengths, lone=lone)
        if plug.on_late is not None:
            plug.on_late()

    def close(self) -> None:
        """Unplug every channel."""
        for channel in tuple(self._plugs):
            self.unplug(channel)

    def _on_readable(self, channel: int, plug: _Plug) -> None:
        try:
            self._inbox.receive(plug.sock)
        except OSError as error:
            # ECONNREFUSED: WireGuard's port was closed when we last sent; it may come back.
            count_error(self._counters, "from-wireguard", error)
            return
        addresses, lengths = self._inbox.datagrams()
        self._counters["from-wireguard-received"] += len(lengths)
        self._forward(channel, addresses, lengths, self._inbox.lone)


def size_buffers(sock: socket.socket, *, receive: int, send: int) -> None:
    """Set the socket's buffers; beyond the system's limit only with CAP_NET_ADMIN."""
    for forced, usual, size in (
        (_SO_RCVBUFFORCE, socket.SO_RCVBUF, receive),
        (_SO_SNDBUFFORCE, socket.SO_SNDBUF, send),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, usual, size)


def count_error(counters: Counter[str], name: str, error: OSError) -> None:
    """Count a failed reception; that nothing was there after all is no failure."""
    if error.errno != errno.EAGAIN:
        counters[f"{name}-{errno.errorcode.get(error.errno or 0, 'error')}"] += 1
