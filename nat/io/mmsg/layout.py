"""The C side: structures as words in anonymous memory, and the two calls.

Every field of `struct mmsghdr` fills a machine word, on 32 as on 64 bits, so a view of words
reaches each at a fixed index.
"""

import ctypes
import mmap
import os
import socket
import sys
from typing import Final

WORD: Final = ctypes.sizeof(ctypes.c_void_p)
"""Bytes of a pointer, a size_t and an unsigned long (format "L") on Linux."""

IOV: Final = 2
IOVLEN: Final = 3
CONTROL: Final = 4
CONTROLLEN: Final = 5
LEN: Final = 7
"""Words of `struct mmsghdr`."""

MESSAGE_WORDS: Final = 8

CONTROL_SIZE: Final = socket.CMSG_SPACE(4)
"""Bytes of one control message; the largest holds an int."""

CONTROL_DATA: Final = socket.CMSG_LEN(0)
"""Bytes before its data."""

UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104

ENDIAN: Final = sys.byteorder

libc: Final = ctypes.CDLL(None, use_errno=True)
libc.recvmmsg.argtypes = (
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
)  # fmt: skip
libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


def memory(size: int) -> tuple[memoryview, int]:
    """Return zeroed memory and its address; it lives as long as the view."""
    area = mmap.mmap(-1, size)
    return memoryview(area), ctypes.addressof(ctypes.c_char.from_buffer(area))


def ints(area: memoryview, offset: int, stride: int) -> memoryview:
    """Return the `int` at `offset` of each element of `stride` bytes."""
    return area.cast("i")[offset // 4 :: stride // 4]


def last_error() -> OSError:
    """Return what the last call said."""
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
