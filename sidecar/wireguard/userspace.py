"""WireGuard in user space: wireguard-go, driven over its UAPI socket.

The process outlives the agent: it detaches itself, and a new agent finds it by the interface.
Each request has a connection of its own, so that a cancelled one leaves nothing behind.
"""

import asyncio
import errno
import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..errors import (
    BackendError,
    BackendUnavailableError,
    InterfaceError,
    PortInUseError,
    PrivilegeError,
)
from ..identity import PublicKey
from . import uapi
from .backend import BackendName
from .changes import Change, SetDevice, WireGuardChange
from .device import DeviceState, PeerState
from .halves import apply_in_order, joined
from .link import delete_link, read_link, set_alias
from .opening import begun_anew, opens

PROGRAM: Final = "wireguard-go"

SOCKET_DIR: Final = Path("/var/run/wireguard")
"""Where every user-space WireGuard has its sockets (wg(8))."""

READY_TIMEOUT: Final = 5.0
"""Seconds until a new process must answer; it takes some 20 ms."""

ANSWER_TIMEOUT: Final = 5.0
"""Seconds for one request; 1,000 peers take 0.15."""

POLL: Final = 0.01
"""Seconds between looks while the process starts or ends."""

TUN: Final = Path("/dev/net/tun")
TUN_DEVICE: Final = os.makedev(10, 200)
"""Major and minor number of /dev/net/tun (devices.txt of Linux)."""


class UserspaceBackend:
    """A `Backend` over one wireguard-go process."""

    name: Final[BackendName] = "userspace"

    def __init__(self, interface: str, program: str = PROGRAM) -> None:
        self.interface = interface
        self._program = program
        self._socket = SOCKET_DIR / f"{interface}.sock"

    async def create(self, alias: str) -> None:
        if await read_link(self.interface) is not None:
            raise InterfaceError(f"an interface {self.interface} exists already")
        _prepare_tun()
        # Left by a process that was killed; a live one would have its interface.
        with suppress(FileNotFoundError):
            self._socket.unlink()
        await self._start()
        try:
            await self._until(self._answers, "does not answer")
            await set_alias(self.interface, alias)
        except BaseException:
            await asyncio.shield(self.destroy())
            raise

    async def read(self) -> DeviceState | None:
        link = await read_link(self.interface)
        if link is None:
            return None
        if link.kind != "tun" or not self._socket.is_socket():
            raise InterfaceError(f"{self.interface} is not a WireGuard interface that we can drive")
        return joined(self.interface, link, uapi.decode_device(await self._exchange(uapi.GET)))

    async def read_peers(self) -> dict[PublicKey, PeerState]:
        return uapi.decode_device(await self._exchange(uapi.GET)).peers

    async def apply(self, changes: Sequence[Change]) -> None:
        await apply_in_order(self.interface, changes, self._set)

    async def destroy(self) -> None:
        # The process ends when its interface goes, and takes its socket along.
        await delete_link(self.interface)
        with suppress(BackendError):
            await self._until(self._is_gone, "does not end")
        # Another user's process, whose directory we may not write, takes its own away.
        with suppress(FileNotFoundError, PermissionError):
            self._socket.unlink()

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def _start(self) -> None:
        program = shutil.which(self._program)
        if program is None:
            raise BackendUnavailableError(f"{self._program} is not installed")
        try:
            # It detaches itself once the interface is there; the first process then ends.
            process = await asyncio.create_subprocess_exec(
                program,
                self.interface,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.defpath, "LOG_LEVEL": "silent"},
                start_new_session=True,
            )
        except OSError as error:
            raise BackendUnavailableError(f"{program} cannot be run: {error}") from error
        assert process.stderr is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                # A silent daemon keeps no pipe of ours, so this ends with the first process.
                said = await process.stderr.read(4096)
                code = await process.wait()
        except TimeoutError as error:
            process.kill()
            raise BackendError(f"{self._program} did not start in time") from error
        if code != 0:
            text = said.decode("utf-8", "replace").strip().splitlines()
            raise BackendError(f"{self._program} failed: {text[-1] if text else f'exit {code}'}")

    async def _set(self, changes: Sequence[WireGuardChange]) -> None:
        if not changes:
            return
        if opens(changes):
            changes = begun_anew(changes, await self.read_peers(), _has_tried)
        code = abs(uapi.decode_errno(await self._exchange(uapi.encode(changes))))
        if code == errno.EADDRINUSE:
            ports = [c.listen_port for c in changes if isinstance(c, SetDevice)]
            raise PortInUseError(f"UDP port {ports[0] if ports else '?'} is in use")
        if code != 0:
            raise BackendError(f"WireGuard refused a change: {os.strerror(code)}")

    async def _exchange(self, request: bytes) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    writer.write(request)
                    await writer.drain()
                    answer = b""
                    while not answer.endswith(b"\n\n"):
                        chunk = await reader.read(1 << 16)
                        if not chunk:
                            break
                        answer += chunk
                    return answer
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise BackendError(f"WireGuard's process does not answer: {error!r}") from error

    async def _answers(self) -> bool:
        try:
            await self._exchange(uapi.GET)
        except BackendError:
            return False
        return True

    async def _is_gone(self) -> bool:
        return not await self._answers()

    async def _until(self, condition: Callable[[], Awaitable[bool]], complaint: str) -> None:
        for _ in range(int(READY_TIMEOUT / POLL)):
            if await condition():
                return
            await asyncio.sleep(POLL)
        raise BackendError(f"{self._program} {complaint}")


def _has_tried(peer: PeerState) -> bool:
    """Whether wireguard-go may have counted a handshake that it could send nowhere.

    After a packet for a peer without an endpoint it would open 5 s late. The kernel drops such a
    packet without a try.
    """
    return peer.endpoint is None


def _prepare_tun() -> None:
    """Make /dev/net/tun where a container lacks it and may have it."""
    try:
        mode = TUN.stat().st_mode
    except FileNotFoundError:
        try:
            TUN.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(TUN, 0o666 | stat.S_IFCHR, TUN_DEVICE)
        except OSError as error:
            raise PrivilegeError(
                "/dev/net/tun is missing: start the container with --device /dev/net/tun"
            ) from error
        return
    if not stat.S_ISCHR(mode) or not os.access(TUN, os.R_OK | os.W_OK):
        raise PrivilegeError("/dev/net/tun cannot be used: give --device /dev/net/tun")
