"""ChannelData, and how frames follow each other in a byte stream (RFC 8656 §12.4, §12.5)."""

import struct
from dataclasses import dataclass
from typing import Final

from ..errors import StunError
from ..stun.attributes import HEADER_SIZE
from ..stun.wire import TYPE_BITS

CHANNEL_HEADER: Final = struct.Struct("!HH")
"""Channel number, length of the data (RFC 8656 §12.4)."""

FIRST_CHANNEL: Final = 0x4000
LAST_CHANNEL: Final = 0x4FFF
"""Channel numbers (RFC 8656 §12)."""

MAX_FRAME: Final = HEADER_SIZE + 0xFFFF
"""Bytes of the longest frame: its length field has 16 bits."""


@dataclass(frozen=True, slots=True)
class ChannelData:
    """Application data on a channel."""

    channel: int
    payload: bytes

    def encode(self, *, padded: bool = False) -> bytes:
        """Return the frame; over a stream it is padded to four bytes, over UDP it need not be."""
        frame = CHANNEL_HEADER.pack(self.channel, len(self.payload)) + self.payload
        return frame + bytes(-len(frame) % 4) if padded else frame


def is_channel_data(frame: bytes) -> bool:
    """Tell ChannelData from STUN by the first two bits (RFC 8656 §12.5)."""
    return len(frame) >= CHANNEL_HEADER.size and frame[0] & TYPE_BITS == 0x40


def parse_channel_data(frame: bytes) -> ChannelData:
    """Decode a frame; padding, or what else follows the data, is ignored.

    Raises:
        StunError: not ChannelData, a reserved channel, or data that is cut short.
    """
    if not is_channel_data(frame):
        raise StunError("not ChannelData")
    channel, size = CHANNEL_HEADER.unpack_from(frame)
    if not FIRST_CHANNEL <= channel <= LAST_CHANNEL:
        raise StunError("reserved channel number")
    if len(frame) < CHANNEL_HEADER.size + size:
        raise StunError("ChannelData is shorter than it says")
    return ChannelData(channel, frame[CHANNEL_HEADER.size : CHANNEL_HEADER.size + size])


class StreamSplitter:
    """Cuts a byte stream into STUN messages and ChannelData (RFC 8656 §12.5)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in bytes, return the frames that are complete, without padding.

        Raises:
            StunError: what comes is neither; the stream cannot be understood any more.
        """
        self._buffer += data
        frames: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= CHANNEL_HEADER.size:
            size, following = _sizes(self._buffer, position)
            if len(self._buffer) - position < following:
                break
            frames.append(bytes(self._buffer[position : position + size]))
            position += following
        del self._buffer[:position]
        return frames


def _sizes(buffer: bytearray, position: int) -> tuple[int, int]:
    """Return the bytes of the frame at `position`, and those up to the next one."""
    first, length = CHANNEL_HEADER.unpack_from(buffer, position)
    if first >> 14 == 0:
        if length % 4:
            raise StunError("the length of a STUN message is a multiple of four")
        return HEADER_SIZE + length, HEADER_SIZE + length
    if first >> 14 == 1:
        size = CHANNEL_HEADER.size + length
        return size, size + -size % 4
    raise StunError("neither STUN nor ChannelData")
