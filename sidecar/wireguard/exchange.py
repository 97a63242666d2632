"""One request to a generic netlink family, and its whole answer.

The kernel has answered before `send` returns, so an exchange is a few short system calls on a
socket of its own: nothing can be cancelled half-way, and no answer meets another request.
"""

import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from ..errors import BackendError, BackendUnavailableError, PortInUseError, PrivilegeError
from . import netlink
from .netlink import Message

_NETLINK_GENERIC: Final = 16
_HEADER: Final = struct.Struct("=BBH")
"""struct genlmsghdr: command, version, reserved."""

_CONTROL_FAMILY: Final = 16
_CONTROL_GETFAMILY: Final = 3
_CONTROL_FAMILY_ID: Final = 1
_CONTROL_FAMILY_NAME: Final = 2

RECEIVE_SIZE: Final = 1 << 18
"""Bytes of a receive; the kernel fills at most 32 KiB."""

TIMEOUT: Final = 5.0
"""Seconds; the kernel answers at once or never."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        payloads: the attributes of each message.
        interrupted: a dump that somebody's change has disturbed; it may be torn.
    """

    payloads: tuple[bytes, ...]
    interrupted: bool


class Family:
    """A generic netlink family, by its name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number: int | None = None

    def request(self, command: int, flags: int, payload: bytes) -> Answer:
        """Send a request and take its answer.

        Raises:
            BackendUnavailableError: this kernel has no such family.
            PortInUseError: the UDP port that was asked for is taken.
            PrivilegeError: CAP_NET_ADMIN is missing.
            BackendError: anything else that was refused.
        """
        known = self._number is not None
        if self._number is None:
            self._number = self._find()
        code, answer = _exchange(self._number, command, flags, payload)
        if code == errno.ENOENT and known:
            # The module was loaded anew, so the family has another number.
            self._number = self._find()
            code, answer = _exchange(self._number, command, flags, payload)
        _raise_for(code)
        return answer

    def _find(self) -> int:
        name = netlink.encode_attribute(_CONTROL_FAMILY_NAME, self._name.encode() + b"\0")
        code, answer = _exchange(_CONTROL_FAMILY, _CONTROL_GETFAMILY, netlink.ACK, name)
        for payload in answer.payloads if code == 0 else ():
            for number, value in netlink.decode_attributes(payload):
                if number == _CONTROL_FAMILY_ID and len(value) == 2:
                    return int(struct.unpack("=H", value)[0])
        raise BackendUnavailableError(f"this kernel has no {self._name}: {os.strerror(code)}")


def _exchange(family: int, command: int, flags: int, payload: bytes) -> tuple[int, Answer]:
    """Return the errno, 0 for success, and the answer."""
    body = _HEADER.pack(command, 1, 0) + payload
    payloads: list[bytes] = []
    interrupted = False
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as sock:
            sock.settimeout(TIMEOUT)
            sock.send(netlink.encode_message(Message(family, netlink.REQUEST | flags, 1, body)))
            while True:
                for message in netlink.decode_messages(sock.recv(RECEIVE_SIZE)):
                    interrupted |= bool(message.flags & netlink.DUMP_INTERRUPTED)
                    if message.kind in (netlink.DONE, netlink.ERROR):
                        return message.errno, Answer(tuple(payloads), interrupted)
                    payloads.append(message.payload[_HEADER.size :])
    except OSError as error:
        raise BackendError(f"the kernel does not answer: {error}") from error


def _raise_for(code: int) -> None:
    match code:
        case 0:
            return
        case errno.EADDRINUSE:
            raise PortInUseError("the UDP port is in use")
        case errno.EPERM | errno.EACCES:
            raise PrivilegeError("WireGuard may not be configured: CAP_NET_ADMIN is needed")
        case number:
            raise BackendError(f"WireGuard refused a change: {os.strerror(number)}")
