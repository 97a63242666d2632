"""What the directory says at one moment."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from ..announcement import Announcement
from ..health import Condition
from ..identity import NodeId, PublicKey
from ..peers_file import MeshRole
from .clones import NO_CLONES, Clones

Finding = tuple[Condition, str, str]
"""(condition, subject, text): something for health to say."""


@dataclass(frozen=True, slots=True)
class DirectoryPeer:
    """A device that may talk to us.

    Attributes:
        node: who it is; `None`: listed in `peers.json`, and never heard of.
        announcement: what it says; `None`: nothing that counts.
        announced_id: id of that message; 0 for none. A higher one is a new announcement, even
            if it says the same.
    """

    username: str
    device: str
    node: NodeId | None
    role: MeshRole
    ip: IPv4Address | None
    announcement: Announcement | None
    announced_id: int


@dataclass(frozen=True, slots=True)
class DirectoryView:
    """The directory at one moment.

    Attributes:
        peers: who may talk to us, by name.
        own_ip: our overlay address once it is ours: static, or a claim that was read back.
        own_static: whether `peers.json` lists us.
        conditions: what an operator should know.
        disputed: keys that several devices announce, as long as none has proved that it holds it.
        withdrawn: devices of members, ours perhaps too, whose announcement was edited or deleted, and
            that have said nothing since.
        clones: other agents that are this very device.
    """

    peers: tuple[DirectoryPeer, ...]
    own_role: MeshRole
    own_ip: IPv4Address | None
    own_static: bool
    conditions: tuple[Finding, ...]
    disputed: frozenset[PublicKey] = frozenset()
    withdrawn: frozenset[NodeId] = frozenset()
    clones: Clones = NO_CLONES
