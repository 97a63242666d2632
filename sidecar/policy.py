"""Who may talk to whom (design A3)."""

from typing import Final

from .peers_file import MeshRole
from .team_config import Policy

_ALLOWED: Final = frozenset(
    {
        frozenset({MeshRole.SERVER}),
        frozenset({MeshRole.SERVER, MeshRole.CLIENT}),
        frozenset({MeshRole.SERVER, MeshRole.GUEST}),
    }
)
"""The pairs that talk; every pair of equals is a set of one."""


def may_talk(one: MeshRole, other: MeshRole, policy: Policy = Policy.ROLES) -> bool:
    """Tell whether two devices become each other's WireGuard peers; symmetric."""
    return policy is Policy.MESH or frozenset({one, other}) in _ALLOWED


def role_of(listed: MeshRole | None, *, file_exists: bool) -> MeshRole:
    """Return the role of a team member's device.

    Args:
        listed: its role in `peers.json`; `None`: it has no entry.
        file_exists: without a `peers.json` every member meshes with every other.
    """
    if listed is not None:
        return listed
    return MeshRole.GUEST if file_exists else MeshRole.SERVER
