"""Peers behind one remote address share the uplink that leads there.

A host route names an address, not a port, so all data to one address leaves by one uplink. Peers
prefer pairs that agree with what is decided; who has none that works overrules it, and the others
follow as far as they can.
"""

from dataclasses import dataclass, field

from .candidate import CandidateType
from .machine import IPAddress
from .path.events import Path, PeerId
from .path.pair import PairKey


@dataclass(slots=True)
class _Decision:
    """By which local address datagrams to a remote one leave, and whose they are."""

    local: IPAddress
    peers: set[PeerId] = field(default_factory=set)


class SharedUplinks:
    """Decides for each remote address by which of ours datagrams leave."""

    def __init__(self) -> None:
        self._decisions: dict[IPAddress, _Decision] = {}
        self._remotes: dict[PeerId, IPAddress] = {}

    def select(self, peer: PeerId, path: Path) -> frozenset[PeerId]:
        """Note a peer's path; returns the others that it overrules, and that should follow."""
        self.forget(peer)
        if path.local.type is CandidateType.RELAYED:
            return frozenset()
        remote, local = path.remote.endpoint.ip, path.base.ip
        decision = self._decisions.setdefault(remote, _Decision(local))
        overruled = frozenset(decision.peers) if decision.local != local else frozenset()
        decision.local = local
        decision.peers.add(peer)
        self._remotes[peer] = remote
        return overruled

    def forget(self, peer: PeerId) -> None:
        """Note that a peer has no path, or another."""
        remote = self._remotes.pop(peer, None)
        if remote is not None:
            self._decisions[remote].peers.discard(peer)
            if not self._decisions[remote].peers:
                del self._decisions[remote]

    def agrees(self, peer: PeerId, pair: PairKey) -> bool:
        """Whether a peer may take a pair without moving the data of others."""
        decision = self._decisions.get(pair.remote.ip)
        if decision is None or decision.peers == {peer}:
            return True
        return decision.local == pair.base.ip
