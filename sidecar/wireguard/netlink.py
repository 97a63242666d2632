"""Framing of netlink: messages and attributes (netlink(7), linux/netlink.h). No I/O."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..errors import BackendError

REQUEST: Final = 0x001
ACK: Final = 0x004
DUMP: Final = 0x300
"""Flags of a request."""

DUMP_INTERRUPTED: Final = 0x010
"""Flag of an answer: what is dumped changed meanwhile."""

ERROR: Final = 2
DONE: Final = 3
"""Types of messages that end an answer; both carry an errno, 0 or negative."""

NESTED: Final = 0x8000
"""Flag of an attribute that consists of attributes."""

MAX_ATTRIBUTE: Final = 0xFFFF - 4
"""Bytes that one attribute can hold: its length, header included, has 16 bits."""

_MESSAGE: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_TYPE_MASK: Final = 0x3FFF


@dataclass(frozen=True, slots=True)
class Message:
    """One message, its header taken apart."""

    kind: int
    flags: int
    sequence: int
    payload: bytes

    @property
    def errno(self) -> int:
        """The positive errno of an `ERROR` or `DONE` message; 0 is success.

        Raises:
            BackendError: there is none.
        """
        if len(self.payload) < 4:
            raise BackendError("the kernel's answer is malformed: an end without a result")
        return abs(int(struct.unpack_from("=i", self.payload)[0]))


def encode_message(message: Message) -> bytes:
    """Return the message as it is sent."""
    size = _MESSAGE.size + len(message.payload)
    return _MESSAGE.pack(size, message.kind, message.flags, message.sequence, 0) + message.payload


def decode_messages(data: bytes) -> Iterator[Message]:
    """Return the messages of one datagram.

    Raises:
        BackendError: one runs past the end.
    """
    position = 0
    while position + _MESSAGE.size <= len(data):
        size, kind, flags, sequence, _ = _MESSAGE.unpack_from(data, position)
        if size < _MESSAGE.size or position + size > len(data):
            raise BackendError("the kernel's answer is malformed: message past the end")
        yield Message(kind, flags, sequence, data[position + _MESSAGE.size : position + size])
        position += size + -size % 4


def encode_attribute(number: int, value: bytes) -> bytes:
    """Return one attribute, padded; `value` has at most `MAX_ATTRIBUTE` bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value + bytes(-len(value) % 4)


def decode_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the numbers (without flags) and values of the attributes in `data`.

    Raises:
        BackendError: one runs past the end.
    """
    position = 0
    while position + _ATTRIBUTE.size <= len(data):
        size, number = _ATTRIBUTE.unpack_from(data, position)
        if size < _ATTRIBUTE.size or position + size > len(data):
            raise BackendError("the kernel's answer is malformed: attribute past the end")
        yield number & _TYPE_MASK, data[position + _ATTRIBUTE.size : position + size]
        position += size + -size % 4
