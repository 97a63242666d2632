"""A team of three as one of them sees it, and what they say."""

from ipaddress import IPv4Address, IPv4Network

from hypothesis import strategies as st

from nat.machine import Endpoint
from sidecar.announcement import Announcement, Leave, encode
from sidecar.directory.addressing import LEASE
from sidecar.directory.directory import Directory
from sidecar.directory.view import DirectoryView
from sidecar.identity import NodeId, PublicKey
from sidecar.keybase.models import ChatMessage, Membership, TeamRole
from sidecar.peers_file import MeshRole, PeersFile, PeersFileEntry

SUBNET = IPv4Network("100.64.7.0/24")
ME = NodeId("alice", "a" * 32, "laptop")
BOB = NodeId("bob", "b" * 32, "server")
EVE = NodeId("eve", "e" * 32, "tablet")
MY_KEY, BOB_KEY, EVE_KEY = (PublicKey(bytes([n]) * 32) for n in (1, 2, 3))
HERE = Endpoint(IPv4Address("203.0.113.9"), 4000)
TEAM = Membership("acme", {"alice": TeamRole.OWNER, "bob": TeamRole.WRITER, "eve": TeamRole.READER})
NOW = 1_780_000_000.0


def line(
    id_: int,
    sender: NodeId | None = BOB,
    key: PublicKey = BOB_KEY,
    *,
    seq: int | None = None,
    at: float = NOW,
    ip: str | None = None,
    endpoint: Endpoint | None = HERE,
) -> ChatMessage:
    number = int(at * 1000) + id_ if seq is None else seq
    overlay = None if ip is None else IPv4Address(ip)
    text = encode(Announcement(key, endpoint, number, overlay))
    return ChatMessage(id_, sender, at, text)


def legacy(
    id_: int, sender: NodeId = BOB, key: PublicKey = BOB_KEY, at: float = NOW
) -> ChatMessage:
    return ChatMessage(id_, sender, at, encode(Announcement(key, HERE)))


def leave(id_: int, sender: NodeId = BOB, at: float = NOW) -> ChatMessage:
    return ChatMessage(id_, sender, at, encode(Leave(int(at * 1000) + id_)))


def directory(*messages: ChatMessage) -> Directory:
    result = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)
    result.handle_membership(TEAM)
    result.handle_messages(messages)
    return result


def announced(view: DirectoryView) -> dict[str, PublicKey]:
    return {
        str(peer.node): peer.announcement.public_key
        for peer in view.peers
        if peer.announcement is not None
    }


def listed(*entries: tuple[NodeId, str, MeshRole]) -> PeersFile:
    return PeersFile(
        {
            (node.username, node.device): PeersFileEntry(
                node.username, node.device, IPv4Address(ip), role
            )
            for node, ip, role in entries
        }
    )


MESSAGES = st.lists(
    st.one_of(
        st.builds(
            line,
            st.integers(1, 40),
            st.sampled_from([ME, BOB, EVE]),
            st.sampled_from([MY_KEY, BOB_KEY, EVE_KEY]),
            at=st.floats(NOW, NOW + 2 * LEASE),
            ip=st.sampled_from([None, "100.64.7.5", "100.64.7.6"]),
        ),
        st.builds(legacy, st.integers(1, 40), st.sampled_from([BOB, EVE])),
        st.builds(leave, st.integers(1, 40), st.sampled_from([BOB, EVE])),
        st.builds(
            lambda id_, other: ChatMessage(id_, BOB, NOW, None, deletes=(other,)),
            st.integers(1, 40),
            st.integers(1, 40),
        ),
    ),
    max_size=20,
    unique_by=lambda message: message.id,
)
