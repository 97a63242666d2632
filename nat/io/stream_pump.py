"""Moves data between WireGuard and a TURN server over TCP or TLS (RFC 8656 §2.1, §12.5).

A stream holds back what comes after a loss, so its queue is kept short: datagrams that find it full
are dropped, and the TCP inside the tunnel slows down as on any narrow link.
"""

import asyncio
import ctypes
import socket
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Final, cast

from ..errors import StunError
from ..turn.framing import MAX_FRAME, StreamSplitter
from .frames import HEAD_SIZE, HEADER_SIZE, FrameSorter, head_at
from .mmsg import memory
from .pump import channel_headers

QUEUE: Final = 256 << 10
"""Bytes of data that wait for the stream: four bursts of 64 KiB as WireGuard sends them at most, or
20 ms at 100 Mbit/s."""

CONTROL_QUEUE: Final = QUEUE + (64 << 10)
"""Bytes up to which STUN is queued: a full stream must still carry its own refreshes."""

UNSENT: Final = 64 << 10
"""Bytes that the kernel takes beyond what it can send (TCP_NOTSENT_LOWAT): by default it takes
megabytes, and the queue above would never be seen to be full."""

DEAD_AFTER: Final = 10_000
"""Milliseconds for which sent data may go unacknowledged (TCP_USER_TIMEOUT); by default the kernel
believes in a dead path for a quarter of an hour."""

KEEPALIVE: Final = 30
"""Seconds without traffic until TCP asks whether the server is there."""

_TCP_NOTSENT_LOWAT: Final = 25


class StreamPump(asyncio.Protocol):
    """A connection over TCP, or TLS on top.

    Args:
        sorter: gets what comes.
        counters: gets datagrams by fate.
        on_lost: called once when the connection has ended, with the reason.
    """

    def __init__(
        self, *, sorter: FrameSorter, counters: Counter[str], on_lost: Callable[[str], None]
    ) -> None:
        self._sorter = sorter
        self._counters = counters
        self._on_lost = on_lost
        self._splitter = StreamSplitter()
        self._view, self._base = memory(_SCRATCH)
        self._transport: asyncio.Transport | None = None
        self._violation: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost(self._violation or str(exc or "closed by the server"))

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._splitter.feed(data)
        except StunError as error:
            # A stream that lost the beginning of a frame never finds another.
            self._counters["from-server-malformed"] += 1
            self._violation = str(error)
            self.close()
            return
        self._counters["from-server-received"] += len(frames)
        while frames:
            frames = self._sort_some(frames)

    def send(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > CONTROL_QUEUE:
            self._counters["control-dropped-congested"] += 1
            return
        transport.write(frame + bytes(-len(frame) % _ALIGNMENT))
        self._counters["control-sent"] += 1

    def forward(
        self,
        channel: int,
        addresses: list[int],
        lengths: list[int],
        lone: memoryview | None = None,
    ) -> None:
        transport = self._transport
        room = QUEUE - transport.get_write_buffer_size() if transport is not None else 0
        ends = list(accumulate(HEADER_SIZE + length + -length % _ALIGNMENT for length in lengths))
        count = bisect_right(ends, room)
        if count < len(lengths):
            self._counters["to-server-dropped-congested"] += len(lengths) - count
        if transport is None or not count:
            return
        headers = channel_headers(channel, lengths[:count])
        parts: list[bytes] = []
        for number, (address, length) in enumerate(
            zip(addresses[:count], lengths[:count], strict=True)
        ):
            parts.append(headers[HEADER_SIZE * number : HEADER_SIZE * (number + 1)])
            parts.append(ctypes.string_at(address, length))
            if length % _ALIGNMENT:
                parts.append(bytes(-length % _ALIGNMENT))
        transport.write(b"".join(parts))
        self._counters["to-server-sent"] += count

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _sort_some(self, frames: list[bytes]) -> list[bytes]:
        """Sort as many frames as fit into the scratch memory; return the others."""
        ends = list(accumulate(len(frame) for frame in frames))
        count = bisect_right(ends, _SCRATCH - HEAD_SIZE)
        self._view[: ends[count - 1]] = b"".join(frames[:count])
        offsets = [0, *ends[: count - 1]]
        heads = [head_at(self._view, offset) for offset in offsets]
        sizes = [len(frame) for frame in frames[:count]]
        self._sorter.sort(self._view, self._base, offsets, sizes, heads)
        return frames[count:]


_ALIGNMENT: Final = 4
"""Bytes to a multiple of which a stream's frames are padded (RFC 8656 §12.5)."""

_SCRATCH: Final = 16 * MAX_FRAME
"""Bytes of frames that are sorted at once."""


def prepare_stream(sock: socket.socket) -> None:
    """Set what makes a TCP connection fit for datagrams."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE)
