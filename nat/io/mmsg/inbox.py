"""Receiving in batches."""

import socket
from array import array
from typing import Final

from .layout import (
    CONTROL,
    CONTROL_DATA,
    CONTROL_SIZE,
    CONTROLLEN,
    ENDIAN,
    IOV,
    IOVLEN,
    LEN,
    MESSAGE_WORDS,
    UDP_GRO,
    WORD,
    ints,
    last_error,
    libc,
    memory,
)

MAX_DATAGRAM: Final = 65_535
"""Bytes of the largest datagram, or of the largest coalesced run of them."""

SLOTS: Final = 32
"""Receptions a system call. Datagrams that come one by one amortise the call over 32; coalesced
ones fill 2 MB at worst, which take a few milliseconds to pass on: other timers wait no longer."""

_STRIDE: Final = 65_536 + 64
"""Bytes from slot to slot: a power of two would put all beginnings into the same cache sets."""

_SLACK: Final = 65_536
"""Bytes after the last slot, so that a reader with a stride may step past its end."""


LONELY: Final = 8
"""Calls for many in a row, each of which found a lone datagram, after which datagrams are received
one by one. The first of a burst often comes alone, too."""

ALONE: Final = 8
"""Receptions one by one between two calls for many. They cost a fifth less; a burst that begins
meanwhile is noticed within so many datagrams."""


class Inbox:
    """Slots that one `receive` fills; what they hold is valid until the next one.

    Attributes:
        view: the bytes of all slots; slot i begins at i * `stride`.
        base: the address of `view`.
        lengths: bytes in each slot.
        segments: bytes of each datagram in a slot, of which the last may be shorter.
        lone: what the first slot holds, if that is the only datagram; `None`: it may not be.
    """

    stride: Final = _STRIDE

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        # Anonymous memory: pages that no datagram ever touched are never taken.
        self.view, self.base = memory(slots * _STRIDE + _SLACK)
        control, control_base = memory(slots * CONTROL_SIZE)
        iovecs, iovecs_base = memory(slots * 2 * WORD)
        messages, self._messages = memory(slots * MESSAGE_WORDS * WORD)
        iovec_words, words = iovecs.cast("L"), messages.cast("L")
        for slot in range(slots):
            iovec_words[2 * slot] = self.base + slot * _STRIDE
            iovec_words[2 * slot + 1] = MAX_DATAGRAM
            message = slot * MESSAGE_WORDS
            words[message + IOV] = iovecs_base + 2 * slot * WORD
            words[message + IOVLEN] = 1
            words[message + CONTROL] = control_base + slot * CONTROL_SIZE
        self._control_lengths = words[CONTROLLEN::MESSAGE_WORDS]
        self._fresh_control_lengths = array("L", [CONTROL_SIZE] * slots)
        self._sizes = ints(messages, LEN * WORD, MESSAGE_WORDS * WORD)
        self._segment_sizes = ints(control, CONTROL_DATA, CONTROL_SIZE)
        # The messages point into these.
        self._referenced = (control, iovecs, messages)
        self._used = slots
        self._first = [self.view[:MAX_DATAGRAM]]
        self.lone: memoryview | None = None
        self._lonely = 0
        self._alone = 0
        self.lengths: list[int] = []
        self.segments: list[int] = []

    def receive(self, sock: socket.socket) -> int:
        """Fill slots with what has arrived at a socket that does not block; return how many.

        Raises:
            OSError: nothing was received (EAGAIN), or an error of the socket is reported.
        """
        if self._alone:
            return self._receive_one(sock)
        self.lone = None
        if self._used == 1:
            self._control_lengths[0] = CONTROL_SIZE
        else:
            self._control_lengths[: self._used] = self._fresh_control_lengths[: self._used]
        count: int = libc.recvmmsg(
            sock.fileno(), self._messages, self._slots, socket.MSG_DONTWAIT, None
        )
        if count < 0:
            raise last_error()
        self._used = count
        if count == 1 and not self._control_lengths[0]:
            self.segments = self.lengths = [self._sizes[0]]
            self._lonely += 1
            if self._lonely >= LONELY:
                self._alone = ALONE
            return 1
        self._lonely = 0
        self.lengths = self._sizes[:count].tolist()
        if any(self._control_lengths[:count]):
            self.segments = [
                segment if control and segment > 0 else length
                for segment, control, length in zip(
                    self._segment_sizes[:count].tolist(),
                    self._control_lengths[:count].tolist(),
                    self.lengths,
                    strict=True,
                )
            ]
        else:
            self.segments = self.lengths
        return count

    def _receive_one(self, sock: socket.socket) -> int:
        length, control, _, _ = sock.recvmsg_into(self._first, CONTROL_SIZE)
        self.segments = self.lengths = [length]
        if not control:
            self._alone -= 1
            self.lone = self.view[:length]
            return 1
        # A run of datagrams: lone ones are over.
        self._lonely, self._alone, self.lone = 0, 0, None
        segment = int.from_bytes(control[0][2][:4], ENDIAN, signed=True)
        self.segments = [segment if segment > 0 else length]
        return 1

    @property
    def coalesced(self) -> bool:
        """Whether some slot may hold several datagrams."""
        return self.segments is not self.lengths

    def datagrams(self) -> tuple[list[int], list[int]]:
        """Return addresses and lengths of the datagrams received last, in their order."""
        if self.lone is not None:
            return [self.base], self.lengths
        if not self.coalesced:
            stop = self.base + len(self.lengths) * _STRIDE
            return list(range(self.base, stop, _STRIDE)), self.lengths
        addresses: list[int] = []
        lengths: list[int] = []
        for slot, (total, segment) in enumerate(zip(self.lengths, self.segments, strict=True)):
            start = self.base + slot * _STRIDE
            if total <= segment:
                addresses.append(start)
                lengths.append(total)
                continue
            addresses.extend(range(start, start + total, segment))
            whole, rest = divmod(total, segment)
            lengths.extend([segment] * whole)
            if rest:
                lengths.append(rest)
        return addresses, lengths


def enable_gro(sock: socket.socket) -> bool:
    """Let the kernel hand over runs of datagrams as one (Linux 5.0); return whether it will."""
    try:
        sock.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True
