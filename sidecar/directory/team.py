"""What the team says of itself: its members, `peers.json`, and who may talk to whom (A1, A3)."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from ..identity import NodeId
from ..keybase.models import MESH_ROLES, Membership, TeamRole
from ..peers_file import MeshRole, PeersFile, PeersFileEntry
from ..policy import may_talk, role_of
from ..team_config import Policy


class Team:
    """The team of one device.

    Args:
        own: this device.
    """

    def __init__(self, own: NodeId) -> None:
        self._own = own
        self.membership: Membership | None = None
        """Who is in; `None`: not known yet."""
        self.peers_file: PeersFile | None = None
        """What `peers.json` lists; `None`: it does not exist, or is not known yet."""
        self.policy = Policy.ROLES

    def handle_membership(self, membership: Membership) -> bool:
        """Take in who is in the team, whose id, once known, is kept; tell whether that is news."""
        if membership.team_id is None and self.membership is not None:
            membership = replace(membership, team_id=self.membership.team_id)
        changed = membership != self.membership
        self.membership = membership
        return changed

    @property
    def roles(self) -> Mapping[str, TeamRole]:
        """The members' roles in Keybase."""
        return self.membership.roles if self.membership else {}

    @property
    def entries(self) -> Mapping[tuple[str, str], PeersFileEntry]:
        """What `peers.json` lists, by user and name of the device."""
        return self.peers_file.entries if self.peers_file else {}

    @property
    def static_addresses(self) -> frozenset[IPv4Address]:
        """The addresses of `peers.json`."""
        return frozenset(entry.ip for entry in self.entries.values())

    @property
    def own_role(self) -> MeshRole:
        """Our part in the mesh."""
        return self.role(self._own)

    def is_member(self, username: str) -> bool:
        """Tell whether a user's devices take part."""
        return self.roles.get(username) in MESH_ROLES

    def entry(self, node: NodeId) -> PeersFileEntry | None:
        """Return what `peers.json` says of a device."""
        return self.entries.get((node.username, node.device))

    def role(self, node: NodeId) -> MeshRole:
        """Return a device's part in the mesh."""
        entry = self.entry(node)
        return role_of(entry.role if entry else None, file_exists=self.peers_file is not None)

    def may_talk(self, role: MeshRole) -> bool:
        """Tell whether devices of a role become our peers, and we theirs."""
        return may_talk(self.own_role, role, self.policy)
