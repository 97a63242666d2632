"""Moves data between WireGuard and a TURN server over UDP, in batches (RFC 8656 §12).

```
WireGuard ◀─▶ loopback socket of a channel ◀─▶ pump ◀─▶ one connected UDP socket ◀─▶ TURN server
```
"""

import asyncio
import errno
import socket
import struct
from array import array
from collections import Counter
from typing import Final, Protocol, cast

from ..turn.framing import CHANNEL_HEADER
from .channels import count_error, size_buffers
from .frames import HEAD_FORMAT, HEAD_SIZE, HEADER_SIZE, FrameSorter, Head, head_at
from .mmsg import Inbox, Outbox, enable_gro

RECEIVE_BUFFER: Final = 4 << 20
"""Bytes from the server that wait while the event loop is busy: 30 ms at 1 Gbit/s, the kernel's
overhead included."""

SEND_BUFFER: Final = 1 << 20
"""Bytes that wait for the uplink: a few bursts of 64 KiB, which is how WireGuard sends at most, with
the kernel's overhead. More would be delay, not throughput: beyond it we drop, as a router does."""

_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_DONT: Final = 0


class Pump(Protocol):
    """One connection to a server, and the data on it."""

    def send(self, frame: bytes) -> None:
        """Send one STUN message or ChannelData; what cannot be sent is counted."""

    def forward(
        self,
        channel: int,
        addresses: list[int],
        lengths: list[int],
        lone: memoryview | None = None,
    ) -> None:
        """Send datagrams that lie in memory on a channel, in order; `lone`: the only one itself."""

    def close(self) -> None:
        """Close the connection; harmless twice."""


class DatagramPump:
    """A connection over UDP.

    Args:
        sock: a connected UDP socket, from now on the pump's.
        sorter: gets what comes.
        counters: gets datagrams by fate.
    """

    def __init__(self, sock: socket.socket, *, sorter: FrameSorter, counters: Counter[str]) -> None:
        sock.setblocking(False)
        size_buffers(sock, receive=RECEIVE_BUFFER, send=SEND_BUFFER)
        _allow_fragments(sock)
        enable_gro(sock)
        self._sock = sock
        self._fd = sock.fileno()
        self._sorter = sorter
        self._counters = counters
        self._inbox = Inbox()
        self._outbox = Outbox(header_size=HEADER_SIZE, counters=counters, name="to-server")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._on_readable)

    def send(self, frame: bytes) -> None:
        for attempt in (1, 2):
            try:
                self._sock.send(frame)
            except ConnectionRefusedError as error:
                # Reports the fate of an earlier datagram; this one was not sent.
                if attempt == 2:
                    count_error(self._counters, "control-dropped", error)
            except OSError as error:
                self._counters[f"control-dropped-{errno.errorcode.get(error.errno or 0)}"] += 1
                return
            else:
                self._counters["control-sent"] += 1
                return

    def forward(
        self,
        channel: int,
        addresses: list[int],
        lengths: list[int],
        lone: memoryview | None = None,
    ) -> None:
        headers = channel_headers(channel, lengths)
        self._outbox.send(self._sock, addresses, lengths, headers, lone)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._fd)
            self._sock.close()

    def _on_readable(self) -> None:
        inbox = self._inbox
        try:
            count = inbox.receive(self._sock)
        except OSError as error:
            count_error(self._counters, "from-server", error)
            return
        if inbox.lone is not None:
            offsets, sizes, heads = [0], inbox.lengths, [head_at(inbox.view, 0)]
        elif inbox.coalesced:
            addresses, sizes = inbox.datagrams()
            offsets = [address - inbox.base for address in addresses]
            heads = [head_at(inbox.view, offset) for offset in offsets]
        else:
            offsets, sizes = list(range(0, count * inbox.stride, inbox.stride)), inbox.lengths
            heads = cast(
                "list[Head]", list(_SLOT_HEADS.iter_unpack(inbox.view[: count * inbox.stride]))
            )
        self._counters["from-server-received"] += len(sizes)
        self._sorter.sort(inbox.view, inbox.base, offsets, sizes, heads)


def channel_headers(channel: int, lengths: list[int]) -> bytes:
    """Return the headers of ChannelData one after the other (RFC 8656 §12.4)."""
    count = len(lengths)
    if count == 1:
        return CHANNEL_HEADER.pack(channel, lengths[0])
    if lengths.count(lengths[0]) == count:
        return struct.pack("!HH", channel, lengths[0]) * count
    fields = array("H", [channel]) * (2 * count)
    fields[1::2] = array("H", lengths)
    return struct.pack(f"!{2 * count}H", *fields)


_SLOT_HEADS: Final = struct.Struct(f"{HEAD_FORMAT}{Inbox.stride - HEAD_SIZE}x")


def _allow_fragments(sock: socket.socket) -> None:
    """Never drop what exceeds the path's MTU: WireGuard does not set DF either."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
