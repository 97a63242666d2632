"""A device of two halves: the interface, by rtnetlink, and WireGuard, by each back end's protocol."""

from collections.abc import Awaitable, Callable, Sequence

from .changes import Change, WireGuardChange
from .device import DeviceState, WireGuardState
from .link import LinkState, apply_to_link


def joined(interface: str, link: LinkState, wireguard: WireGuardState) -> DeviceState:
    """Return the whole of both halves."""
    return DeviceState(
        interface=interface,
        alias=link.alias,
        private_key=wireguard.private_key,
        listen_port=wireguard.listen_port,
        fwmark=wireguard.fwmark,
        mtu=link.mtu,
        up=link.up,
        addresses=link.addresses,
        ipv6=link.ipv6,
        routes=link.routes,
        peers=wireguard.peers,
    )


async def apply_in_order(
    interface: str,
    changes: Sequence[Change],
    set_wireguard: Callable[[Sequence[WireGuardChange]], Awaitable[None]],
) -> None:
    """Make changes in their order; what follows each other of WireGuard's is made at once."""
    batch: list[WireGuardChange] = []
    for change in changes:
        if isinstance(change, WireGuardChange):
            batch.append(change)
            continue
        await set_wireguard(batch)
        batch = []
        # A socket that is not bound yet is bound when the interface goes up.
        await apply_to_link(interface, change)
    await set_wireguard(batch)
