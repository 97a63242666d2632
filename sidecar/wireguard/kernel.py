"""WireGuard in the kernel: generic netlink for the tunnel, rtnetlink for the interface."""

import asyncio
from collections.abc import Sequence
from typing import Final

from ..errors import InterfaceError
from ..identity import PublicKey
from . import genetlink, netlink
from .backend import BackendName
from .changes import Change, WireGuardChange
from .device import DeviceState, PeerState, WireGuardState
from .exchange import Family
from .halves import apply_in_order, joined
from .link import create_wireguard_link, delete_link, read_link
from .opening import begun_anew, opens

INTERRUPTED_TRIES: Final = 5
"""Dumps that may be disturbed by a change before the last one is believed as it is."""


class KernelBackend:
    """A `Backend` over the kernel's own WireGuard."""

    name: Final[BackendName] = "kernel"

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._family = Family(genetlink.FAMILY)

    async def create(self, alias: str) -> None:
        await create_wireguard_link(self.interface, alias)

    async def read(self) -> DeviceState | None:
        link = await read_link(self.interface)
        if link is None:
            return None
        if link.kind != "wireguard":
            raise InterfaceError(f"{self.interface} is not a WireGuard interface")
        return joined(self.interface, link, self._dump())

    async def read_peers(self) -> dict[PublicKey, PeerState]:
        return self._dump().peers

    async def apply(self, changes: Sequence[Change]) -> None:
        await apply_in_order(self.interface, changes, self._set)

    async def destroy(self) -> None:
        await delete_link(self.interface)

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def _set(self, changes: Sequence[WireGuardChange]) -> None:
        if opens(changes, again=True):
            changes = begun_anew(changes, self._dump().peers)
        for payload in genetlink.encode_set(self.interface, changes):
            self._family.request(genetlink.CMD_SET_DEVICE, netlink.ACK, payload)
            await asyncio.sleep(0)  # a thousand peers are ten messages: others may run between

    def _dump(self) -> WireGuardState:
        payload = genetlink.encode_get(self.interface)
        for _ in range(INTERRUPTED_TRIES):
            answer = self._family.request(genetlink.CMD_GET_DEVICE, netlink.DUMP, payload)
            if not answer.interrupted:
                break
        return genetlink.decode_dump(answer.payloads)
