"""Sending in batches."""

import ctypes
import errno
import socket
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final

from .layout import (
    CONTROL,
    CONTROL_DATA,
    CONTROL_SIZE,
    CONTROLLEN,
    ENDIAN,
    IOV,
    IOVLEN,
    MESSAGE_WORDS,
    UDP_SEGMENT,
    WORD,
    libc,
    memory,
)

CAPACITY: Final = 512
"""Datagrams that one call sends at most; longer batches are sent in parts."""

MAX_SEGMENTS: Final = 64
"""Datagrams in one GSO packet: UDP_MAX_SEGMENTS of kernels before 6.9."""

MAX_GSO_SIZE: Final = 65_487
"""Bytes of one GSO packet: 65,535 less the headers of IPv6 and UDP."""

_CONGESTED: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
"""The queue below us is full: a router would drop, and so do we."""

_TOO_LONG_FOR_GSO: Final = frozenset({errno.EINVAL, errno.EMSGSIZE})
"""A segment does not fit into the path's MTU: IP fragments single datagrams, never segments."""

_NO_GSO: Final = frozenset({errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
"""The device cannot checksum segments (EIO), or the kernel is too old."""


class Outbox:
    """Sends batches of datagrams that lie in memory, each behind a header if there is one.

    Args:
        header_size: bytes of the header that precedes each datagram; 0 for none.
        counters: gets what was sent and dropped, in datagrams.
        name: begins the names of those counters.

    Attributes:
        gso_limit: bytes of the longest datagram (with header) that is sent in GSO packets. Falls
            when the path refuses.
    """

    def __init__(self, *, header_size: int, counters: Counter[str], name: str) -> None:
        self.gso_limit = MAX_GSO_SIZE
        self._header_size = header_size
        self._counters = counters
        self._sent, self._congested = f"{name}-sent", f"{name}-dropped-congested"
        self._failed = f"{name}-dropped-"
        self._iovecs_each = 2 if header_size else 1
        self._headers, headers_base = memory(max(1, CAPACITY * header_size))
        iovecs, self._iovecs_base = memory(CAPACITY * 2 * 2 * WORD)
        control, self._control_base = memory(CAPACITY * CONTROL_SIZE)
        messages, self._messages = memory(CAPACITY * MESSAGE_WORDS * WORD)
        self._iovecs, self._words = iovecs.cast("L"), messages.cast("L")
        if header_size:
            stop = headers_base + CAPACITY * header_size
            self._iovecs[0::4] = array("L", range(headers_base, stop, header_size))
            self._iovecs[1::4] = array("L", [header_size] * CAPACITY)
        for slot in range(CAPACITY):
            at = slot * CONTROL_SIZE
            control[at : at + WORD] = socket.CMSG_LEN(2).to_bytes(WORD, ENDIAN)
            control[at + WORD : at + WORD + 4] = socket.SOL_UDP.to_bytes(4, ENDIAN)
            control[at + WORD + 4 : at + WORD + 8] = UDP_SEGMENT.to_bytes(4, ENDIAN)
        self._segment_sizes = control.cast("H")[CONTROL_DATA // 2 :: CONTROL_SIZE // 2]
        # The messages point into these.
        self._referenced = (iovecs, control, messages)

    def send(
        self,
        sock: socket.socket,
        addresses: Sequence[int],
        lengths: list[int],
        headers: bytes = b"",
        lone: memoryview | None = None,
    ) -> None:
        """Send all in order, without waiting; what the socket does not take is counted.

        Args:
            sock: a connected UDP socket that does not block.
            addresses: where each datagram's payload lies.
            lengths: how long each payload is.
            headers: the headers of all, one after the other.
            lone: the payload itself, if there is but one: copying that costs less than describing
                where it lies.
        """
        if lone is not None:
            self._send_one(sock, headers + lone if headers else lone)
            return
        fd = sock.fileno()
        for start in range(0, len(lengths), CAPACITY):
            stop = start + CAPACITY
            self._lay_out(
                addresses[start:stop],
                lengths[start:stop],
                headers[start * self._header_size : stop * self._header_size],
            )
            part = lengths[start:stop]
            if not self._send_runs(fd, part, self._point(part, self.gso_limit)):
                self._counters[self._congested] += max(0, len(lengths) - stop)
                return

    def _lay_out(self, addresses: Sequence[int], lengths: list[int], headers: bytes) -> None:
        step = 2 * self._iovecs_each
        used = step * len(lengths)
        self._iovecs[step - 2 : used : step] = array("L", addresses)
        self._iovecs[step - 1 : used : step] = array("L", lengths)
        self._headers[: len(headers)] = headers

    def _send_one(self, sock: socket.socket, datagram: bytes | memoryview) -> None:
        for reported in (False, True):
            try:
                sock.send(datagram)
            except OSError as error:
                code = error.errno or 0
                if code in _CONGESTED:
                    self._counters[self._congested] += 1
                elif code == errno.ECONNREFUSED and not reported:
                    # An ICMP error of an earlier datagram, reported once; this one was not sent.
                    continue
                else:
                    self._counters[self._failed + errno.errorcode.get(code, "error")] += 1
            else:
                self._counters[self._sent] += 1
            return

    def _send_runs(self, fd: int, lengths: list[int], runs: list[tuple[int, int]]) -> bool:
        """Send the messages that point at `runs`; return whether the socket may take more."""
        position, reported = 0, False
        while position < len(runs):
            at = self._messages + position * MESSAGE_WORDS * WORD
            sent = libc.sendmmsg(fd, at, len(runs) - position, socket.MSG_DONTWAIT)
            if sent > 0:
                self._counters[self._sent] += sum(
                    count for _, count in runs[position : position + sent]
                )
                position += sent
                reported = False
                continue
            code = ctypes.get_errno()
            first, count = runs[position]
            if code in _CONGESTED:
                self._counters[self._congested] += len(lengths) - first
                return False
            if count > 1 and code in _TOO_LONG_FOR_GSO | _NO_GSO:
                whole = self._header_size + lengths[first]
                self.gso_limit = 0 if code in _NO_GSO else min(self.gso_limit, whole - 1)
                runs = runs[:position] + self._point(lengths, self.gso_limit, position, first)
            elif code == errno.ECONNREFUSED and not reported:
                # An ICMP error of an earlier datagram, reported once; this one was not sent.
                reported = True
            else:
                self._counters[self._failed + errno.errorcode.get(code, "error")] += count
                position += 1
        return True

    def _point(
        self, lengths: list[int], limit: int, message: int = 0, first: int = 0
    ) -> list[tuple[int, int]]:
        """Point messages, from number `message` on, at runs of datagrams; return the runs.

        A run, one GSO packet, is datagrams of one length and perhaps a shorter one at its end.
        """
        runs: list[tuple[int, int]] = []
        words, each, total = self._words, self._iovecs_each, len(lengths)
        alike = total > 0 and lengths.count(lengths[0]) == total
        while first < total:
            length = lengths[first]
            size = length + self._header_size
            most = min(MAX_SEGMENTS, MAX_GSO_SIZE // size) if 0 < size <= limit else 1
            stop = min(total, first + most)
            end = stop if alike else first + 1
            while end < stop and lengths[end] == length:
                end += 1
            if end < stop and lengths[end] < length:
                end += 1
            at = (message + len(runs)) * MESSAGE_WORDS
            words[at + IOV] = self._iovecs_base + first * 2 * each * WORD
            words[at + IOVLEN] = (end - first) * each
            if end - first > 1:
                slot = message + len(runs)
                self._segment_sizes[slot] = size
                words[at + CONTROL] = self._control_base + slot * CONTROL_SIZE
                words[at + CONTROLLEN] = socket.CMSG_SPACE(2)
            else:
                words[at + CONTROL] = words[at + CONTROLLEN] = 0
            runs.append((first, end - first))
            first = end
        return runs
