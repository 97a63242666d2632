"""Puts a classic BPF program on a socket."""

import ctypes
import socket
import struct
from typing import Final

from .bpf import Program, assemble

_SO_ATTACH_FILTER: Final = 26


def attach(sock: socket.socket, program: Program) -> None:
    """Let `sock` receive only what `program` accepts; replaces the program it had."""
    code = ctypes.create_string_buffer(assemble(program))
    # struct sock_fprog: the pointer is read during the call only.
    fprog = struct.pack("HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
