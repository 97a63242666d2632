"""Peers begun anew, which lifts WireGuard's rate limit of handshakes (REKEY_TIMEOUT, 5 s).

Only a peer that never had a session: what is lost are the packets that wait for one.
"""

from collections.abc import Callable, Mapping, Sequence

from ..identity import PublicKey
from .changes import AddPeer, OpenPeer, RemovePeer, WireGuardChange
from .device import PeerState


def opens(changes: Sequence[WireGuardChange], *, again: bool = False) -> bool:
    """Tell whether a peer is to be opened; `again`: for another time."""
    return any(isinstance(c, OpenPeer) and (c.again or not again) for c in changes)


def begun_anew(
    changes: Sequence[WireGuardChange],
    peers: Mapping[PublicKey, PeerState],
    is_limited: Callable[[PeerState], bool] = lambda _: False,
) -> list[WireGuardChange]:
    """Have peers removed and added before they are opened, where the rate limit is in the way.

    Args:
        changes: what is to be done.
        peers: as they are.
        is_limited: whether that is so of a peer even when it is opened for the first time.
    """
    anew: list[WireGuardChange] = []
    for change in changes:
        if isinstance(change, OpenPeer) and change.public_key in peers:
            peer = peers[change.public_key]
            if peer.last_handshake is None and (change.again or is_limited(peer)):
                key = peer.config.public_key
                anew += [RemovePeer(key), AddPeer(key, peer.config.allowed_ips)]
        anew.append(change)
    return anew
