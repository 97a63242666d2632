"""WireGuard in the kernel: generic netlink for the tunnel, rtnetlink for the interface.

Requests are answered before `send` returns, so each exchange is a few short system calls on a
socket of its own: nothing can be cancelled half-way, and no answer meets another request.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final, Self

from ..errors import (
    BackendError,
    BackendUnavailableError,
    InterfaceError,
    PortInUseError,
    PrivilegeError,
)
from ..identity import PublicKey
from . import genetlink
from .backend import BackendName
from .changes import AddPeer, Change, RemovePeer, SetAllowedIPs, SetDevice, UpdatePeer
from .device import DeviceState, PeerState
from .link import apply_to_link, create_wireguard_link, delete_link, read_link, set_alias
from .uapi import UapiDevice, WireGuardChange

_NETLINK_GENERIC: Final = 16
_GENL_ID_CTRL: Final = 16
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_ID: Final = 1
_CTRL_ATTR_FAMILY_NAME: Final = 2
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4
_NLM_F_DUMP: Final = 0x300
_NLM_F_DUMP_INTR: Final = 0x10
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NLMSG: Final = struct.Struct("=IHHII")
_GENL_HEADER: Final = 4

RECEIVE_SIZE: Final = 1 << 18
"""Bytes of the largest batch of messages that one receive takes."""

TIMEOUT: Final = 5.0
"""Seconds; the kernel answers at once or never."""

INTERRUPTED_TRIES: Final = 5
"""Dumps that may be disturbed by a change before the last one is believed as it is."""


class KernelBackend:
    """A `Backend` over the kernel's own WireGuard."""

    name: Final[BackendName] = "kernel"

    def __init__(self, interface: str) -> None:
        self.interface = interface

    async def create(self, alias: str) -> None:
        await create_wireguard_link(self.interface)
        await set_alias(self.interface, alias)

    async def read(self) -> DeviceState | None:
        link = await read_link(self.interface)
        if link is None:
            return None
        if link.kind != "wireguard":
            raise InterfaceError(f"{self.interface} is not a WireGuard interface")
        device = self._dump()
        return DeviceState(
            interface=self.interface,
            alias=link.alias,
            private_key=device.private_key,
            listen_port=device.listen_port,
            fwmark=device.fwmark,
            mtu=link.mtu,
            up=link.up,
            addresses=link.addresses,
            peers=device.peers,
        )

    async def read_peers(self) -> dict[PublicKey, PeerState]:
        return self._dump().peers

    async def apply(self, changes: Sequence[Change]) -> None:
        batch: list[WireGuardChange] = []
        for change in changes:
            if isinstance(change, SetDevice | AddPeer | SetAllowedIPs | UpdatePeer | RemovePeer):
                batch.append(change)
                continue
            await self._set(batch)
            batch = []
            try:
                await apply_to_link(self.interface, change)
            except BackendError as error:
                # The socket is bound when the interface goes up, and fails there.
                if os.strerror(errno.EADDRINUSE) in str(error):
                    raise PortInUseError("the UDP port is in use") from error
                raise
        await self._set(batch)

    async def destroy(self) -> None:
        await delete_link(self.interface)

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def _set(self, changes: Sequence[WireGuardChange]) -> None:
        for payload in genetlink.encode_set(self.interface, changes):
            with _Exchange() as exchange:
                exchange.request(genetlink.CMD_SET_DEVICE, _NLM_F_ACK, payload)
            await asyncio.sleep(0)  # a thousand peers are ten messages: others may run between

    def _dump(self) -> UapiDevice:
        payload = genetlink.encode_get(self.interface)
        for _ in range(INTERRUPTED_TRIES):
            with _Exchange() as exchange:
                messages = exchange.request(genetlink.CMD_GET_DEVICE, _NLM_F_DUMP, payload)
                if not exchange.interrupted:
                    break
        return genetlink.decode_dump(messages)


class _Exchange:
    """A generic netlink socket for one request and its answer."""

    _family: int | None = None
    """WireGuard's family id, the same for the kernel's lifetime."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
        self._socket.settimeout(TIMEOUT)
        self._sequence = 0
        self.interrupted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, command: int, flags: int, payload: bytes) -> list[bytes]:
        """Send a WireGuard request; return the attributes of each answer."""
        if _Exchange._family is None:
            _Exchange._family = self._find_family()
        return self._roundtrip(_Exchange._family, command, flags, payload)

    def _find_family(self) -> int:
        name = genetlink.attribute(_CTRL_ATTR_FAMILY_NAME, b"wireguard\0")
        try:
            answers = self._roundtrip(_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _NLM_F_ACK, name)
        except BackendError as error:
            raise BackendUnavailableError("this kernel has no WireGuard") from error
        for answer in answers:
            for number, value in genetlink.attributes(answer):
                if number == _CTRL_ATTR_FAMILY_ID:
                    return struct.unpack("=H", value)[0]  # type: ignore[no-any-return]
        raise BackendUnavailableError("this kernel has no WireGuard")

    def _roundtrip(self, family: int, command: int, flags: int, payload: bytes) -> list[bytes]:
        self._sequence += 1
        body = struct.pack("=BBH", command, 1, 0) + payload
        header = _NLMSG.pack(
            _NLMSG.size + len(body), family, _NLM_F_REQUEST | flags, self._sequence, 0
        )
        answers: list[bytes] = []
        try:
            self._socket.send(header + body)
            while True:
                for kind, bits, data in self._receive():
                    self.interrupted |= bool(bits & _NLM_F_DUMP_INTR)
                    if kind == _NLMSG_DONE:
                        return answers
                    if kind == _NLMSG_ERROR:
                        _raise_for(struct.unpack_from("=i", data)[0])
                        return answers
                    answers.append(data[_GENL_HEADER:])
        except OSError as error:
            raise BackendError(f"the kernel does not answer: {error}") from error

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(RECEIVE_SIZE)
        position = 0
        while position + _NLMSG.size <= len(data):
            size, kind, flags, sequence, _ = _NLMSG.unpack_from(data, position)
            if size < _NLMSG.size or position + size > len(data):
                raise BackendError("the kernel's answer is malformed: message past the end")
            if sequence == self._sequence:
                yield kind, flags, data[position + _NLMSG.size : position + size]
            position += size + -size % 4


def _raise_for(code: int) -> None:
    """Raise what a netlink error means; 0 is an acknowledgement."""
    match -code:
        case 0:
            return
        case errno.EADDRINUSE:
            raise PortInUseError("the UDP port is in use")
        case errno.EPERM | errno.EACCES:
            raise PrivilegeError("WireGuard may not be configured: CAP_NET_ADMIN is needed")
        case number:
            raise BackendError(f"WireGuard refused a change: {os.strerror(number)}")
