"""Devices as the mesh sees them: what each says, as far as a peer of ours may say it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from ..announcement import Announcement
from ..identity import DeviceKey, NodeId
from ..peers_file import MeshRole, PeersFileEntry
from .records import Record
from .view import DirectoryPeer

_Facts = tuple[Record | None, NodeId, MeshRole, IPv4Address | None]


class Portraits:
    """Describes a device by the same object for as long as nothing about it changes.

    Args:
        subnet: the overlay network. A tunnel must not carry itself, so what lies in it is no
            candidate.
    """

    def __init__(self, subnet: IPv4Network) -> None:
        self._subnet = subnet
        self._known: dict[DeviceKey, tuple[_Facts, DirectoryPeer]] = {}

    def heard(
        self, node: NodeId, current: Record | None, role: MeshRole, ip: IPv4Address | None
    ) -> DirectoryPeer:
        """Describe a device that has spoken.

        Args:
            node: who it is.
            current: its line in force.
            role: its part in the mesh.
            ip: its overlay address.
        """
        facts = (current, node, role, ip)
        known = self._known.get(node.key)
        if known is not None and known[0] == facts:
            return known[1]
        line = current.line if current is not None else None
        peer = DirectoryPeer(
            username=node.username,
            device=node.device,
            node=node,
            role=role,
            ip=ip,
            announcement=self._usable(line) if isinstance(line, Announcement) else None,
            announced_id=0 if current is None else current.id,
        )
        self._known[node.key] = (facts, peer)
        return peer

    def _usable(self, line: Announcement) -> Announcement:
        candidates = tuple(c for c in line.candidates if c.endpoint.ip not in self._subnet)
        endpoint = line.endpoint
        if endpoint is not None and endpoint.ip in self._subnet:
            endpoint = None
        if candidates == line.candidates and endpoint == line.endpoint:
            return line
        return replace(line, candidates=candidates, endpoint=endpoint)


def unheard(entry: PeersFileEntry) -> DirectoryPeer:
    """Describe a device that is listed and has never said anything."""
    return DirectoryPeer(
        username=entry.username,
        device=entry.device,
        node=None,
        role=entry.role,
        ip=entry.ip,
        announcement=None,
        announced_id=0,
    )
