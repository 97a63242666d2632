"""What comes from a TURN server, sorted in batches: data to WireGuard, the rest to the machine."""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from ..stun.message import MAGIC_COOKIE, is_stun
from ..turn.framing import CHANNEL_HEADER, FIRST_CHANNEL, LAST_CHANNEL

HEADER_SIZE: Final = CHANNEL_HEADER.size
"""Bytes before ChannelData (RFC 8656 §12.4)."""

PADDING: Final = 3
"""Bytes that may follow ChannelData at most (RFC 8656 §12.5)."""

HEAD_FORMAT: Final = "!HH4xI"
"""Channel, length, and the word of the payload where STUN has its cookie."""

HEAD_SIZE: Final = 12

Head = tuple[int, int, int]

_HEAD: Final = struct.Struct(HEAD_FORMAT)

_COOKIE: Final = int.from_bytes(MAGIC_COOKIE, "big")


def head_at(view: memoryview, offset: int) -> Head:
    """Return the head of the frame at `offset`."""
    return cast("Head", _HEAD.unpack_from(view, offset))


class DataSink(Protocol):
    """Where data goes: `nat.io.channels.Channels`."""

    def __contains__(self, channel: int) -> bool:
        """Whether data of this channel is wanted."""

    def deliver(
        self,
        channel: int,
        addresses: Sequence[int],
        lengths: list[int],
        lone: memoryview | None = None,
    ) -> None:
        """Take payloads that lie in memory during the call; `lone`: the only one itself."""


class FrameSorter:
    """Sorts frames that lie in memory.

    Args:
        channels: get ChannelData, unless its payload is STUN.
        on_frame: gets STUN messages, and ChannelData with STUN in it.
        counters: gets what is dropped, by reason.
    """

    def __init__(
        self, *, channels: DataSink, on_frame: Callable[[bytes], None], counters: Counter[str]
    ) -> None:
        self._channels = channels
        self._on_frame = on_frame
        self._counters = counters

    def sort(
        self,
        view: memoryview,
        base: int,
        offsets: Sequence[int],
        sizes: list[int],
        heads: list[Head],
    ) -> None:
        """Deliver a batch; the order of each channel's frames is kept.

        Args:
            view: the memory.
            base: its address.
            offsets: where each frame begins.
            sizes: its bytes.
            heads: its first bytes by `HEAD_FORMAT`; of a shorter frame, whatever follows it.
        """
        channel, length, word = head = heads[0]
        count = len(heads)
        if (
            word != _COOKIE
            and channel in self._channels
            and length > 0
            and sizes[0] == HEADER_SIZE + length
            and sizes.count(sizes[0]) == count
            and heads.count(head) == count
        ):
            # A stream of full packets to one peer: nothing to look at one by one.
            first = base + HEADER_SIZE
            if count == 1:
                start = offsets[0] + HEADER_SIZE
                lone = view[start : start + length]
                self._channels.deliver(channel, [base + start], [length], lone)
                return
            self._channels.deliver(
                channel, [first + offset for offset in offsets], [length] * count
            )
            return
        self._sort_each(view, base, offsets, sizes, heads)

    def _sort_each(
        self,
        view: memoryview,
        base: int,
        offsets: Sequence[int],
        sizes: list[int],
        heads: list[Head],
    ) -> None:
        batches: dict[int, tuple[list[int], list[int]]] = {}
        first = base + HEADER_SIZE
        for offset, size, (channel, length, word) in zip(offsets, sizes, heads, strict=True):
            if not FIRST_CHANNEL <= channel <= LAST_CHANNEL:
                self._control(bytes(view[offset : offset + size]))
            elif not 0 < length <= size - HEADER_SIZE <= length + PADDING:
                self._counters["received-dropped-malformed"] += 1
            elif word == _COOKIE and is_stun(
                payload := bytes(view[offset + HEADER_SIZE : offset + HEADER_SIZE + length])
            ):
                self._on_frame(bytes(view[offset : offset + HEADER_SIZE]) + payload)
            else:
                addresses, lengths = batches.setdefault(channel, ([], []))
                addresses.append(first + offset)
                lengths.append(length)
        for channel, (addresses, lengths) in batches.items():
            self._channels.deliver(channel, addresses, lengths)

    def _control(self, frame: bytes) -> None:
        if is_stun(frame):
            self._on_frame(frame)
        else:
            self._counters["received-dropped-malformed"] += 1
