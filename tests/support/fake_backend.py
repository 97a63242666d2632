"""WireGuard in memory, with the semantics that the real ones have (verified by the contract)."""

from collections.abc import Sequence
from dataclasses import replace

from sidecar.errors import BackendError, InterfaceError
from sidecar.identity import PublicKey
from sidecar.wireguard.backend import BackendName
from sidecar.wireguard.changes import (
    AddAddress,
    AddPeer,
    AddPeerRoute,
    Change,
    OpenPeer,
    RemoveAddress,
    RemovePeer,
    RemovePeerRoute,
    SetAllowedIPs,
    SetDevice,
    SetMtu,
    SetUp,
    UpdatePeer,
)
from sidecar.wireguard.device import AllowedIPs, DeviceState, PeerConfig, PeerState


class FakeBackend:
    """A `Backend` whose interface is a value."""

    name: BackendName = "userspace"

    def __init__(self, interface: str = "kbwg0") -> None:
        self.interface = interface
        self.state: DeviceState | None = None

    async def create(self, alias: str) -> None:
        if self.state is not None:
            raise InterfaceError("exists")
        self.state = DeviceState(
            interface=self.interface,
            alias=alias,
            private_key=None,
            listen_port=0,
            fwmark=0,
            mtu=1420,
            up=False,
            addresses=frozenset(),
            peers={},
        )

    async def read(self) -> DeviceState | None:
        return None if self.state is None else replace(self.state, peers=dict(self.state.peers))

    async def read_peers(self) -> dict[PublicKey, PeerState]:
        return dict(self._state().peers)

    async def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.state = self._applied(self._state(), change)

    async def destroy(self) -> None:
        self.state = None

    async def close(self) -> None:
        pass

    def _state(self) -> DeviceState:
        if self.state is None:
            raise BackendError("no interface")
        return self.state

    def _applied(self, state: DeviceState, change: Change) -> DeviceState:
        peers = state.peers
        match change:
            case SetDevice():
                return replace(
                    state,
                    private_key=change.private_key or state.private_key,
                    listen_port=state.listen_port
                    if change.listen_port is None
                    else change.listen_port,
                    fwmark=state.fwmark if change.fwmark is None else change.fwmark,
                )
            case AddPeer(public_key=key, allowed_ips=allowed):
                fresh = PeerState(PeerConfig(key, frozenset()), None, 0, 0, 0, None)
                return replace(
                    state, peers=_moved({**peers, key: peers.get(key, fresh)}, key, allowed)
                )
            case SetAllowedIPs(public_key=key, allowed_ips=allowed):
                return replace(state, peers=_moved(peers, key, allowed)) if key in peers else state
            case UpdatePeer(public_key=key) | OpenPeer(public_key=key):
                if key not in peers:
                    return state
                keepalive = change.persistent_keepalive
                known = peers[key]
                updated = replace(
                    known,
                    endpoint=change.endpoint or known.endpoint,
                    persistent_keepalive=known.persistent_keepalive
                    if keepalive is None
                    else keepalive,
                )
                return replace(state, peers={**peers, key: updated})
            case RemovePeer(public_key=key):
                return replace(state, peers={k: p for k, p in peers.items() if k != key})
            case AddAddress(address=address):
                return replace(state, addresses=state.addresses | {address})
            case RemoveAddress(address=address):
                return replace(state, addresses=state.addresses - {address})
            case AddPeerRoute(route=route):
                others = {r for r in state.routes if r.destination != route.destination}
                return replace(state, routes=frozenset({*others, route}))
            case RemovePeerRoute(destination=destination):
                kept = {r for r in state.routes if r.destination != destination}
                return replace(state, routes=frozenset(kept))
            case SetMtu(mtu=mtu):
                return replace(state, mtu=mtu)
            case SetUp():
                return replace(state, up=True)


def _moved(
    peers: dict[PublicKey, PeerState], key: PublicKey, allowed: AllowedIPs
) -> dict[PublicKey, PeerState]:
    """Give `key` its allowed IPs; whoever had one of them loses it without a word."""
    return {
        other: replace(
            peer,
            config=PeerConfig(
                other, allowed if other == key else peer.config.allowed_ips - allowed
            ),
        )
        for other, peer in peers.items()
    }
