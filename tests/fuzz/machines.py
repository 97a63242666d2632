"""Machines as targets: nothing that comes without authority changes what they hold."""

import json
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from random import Random
from typing import Final

from nat.gathering import HostAddress
from nat.machine import Datagram, Endpoint
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PeerId
from nat.portmap.mapper import Mapper
from nat.portmap.memory import GatewayMemory
from nat.portmap.values import Gateway, Uplink
from nat.stun.message import check_request
from nat.traversal import Traversal
from nat.turn.server import StaticCredentials, TurnServer, TurnTransport
from sidecar.directory.directory import Directory
from sidecar.identity import NodeId, PublicKey
from sidecar.keybase import api
from sidecar.keybase.models import LEADER_ROLES, ChatMessage, Membership, TeamRole
from sidecar.peers_file import parse_peers_file

from .decoders import (
    KEY,
    NAT_PMP,
    PCP_MAP,
    SUBNET,
    Target,
    announcement_lines,
    message_json,
    stun_messages,
)

OWN: Final = NodeId("alice", "a" * 32, "host")
BOB: Final = NodeId("bob", "b" * 32, "host")
MY_KEY: Final = PublicKey(bytes([9]) * 32)
ROLES: Final = {"alice": TeamRole.OWNER, "bob": TeamRole.WRITER, "eve": TeamRole.READER}
LISTED: Final = (
    b'[{"username":"alice","device":"host","ip":"100.64.7.1"},'
    b'{"username":"bob","device":"host","ip":"100.64.7.2"},'
    b'{"username":"eve","device":"host","ip":"100.64.7.3","role":"guest"}]'
)

BASE: Final = Endpoint(IPv4Address("192.168.1.2"), 20000)
PEER: Final = Endpoint(IPv4Address("203.0.113.66"), 4000)
SERVER: Final = Endpoint(IPv4Address("198.51.100.1"), 3478)
STRANGER: Final = Endpoint(IPv4Address("198.51.100.66"), 6666)
GATEWAY: Final = Endpoint(IPv4Address("192.168.1.1"), 5351)
BELIEF: Final = IceCredentials("here", "ours" * 6, "there", "theirs" * 6)


def _directory(rng: Random) -> Callable[[bytes], None]:
    """Return what takes a pushed message of anybody but bob, and looks at what is said of him."""
    subject = Directory(own=OWN, own_key=MY_KEY, subnet=SUBNET)
    subject.handle_membership(Membership("acme", ROLES))
    subject.handle_peers_file(parse_peers_file(LISTED, SUBNET))
    subject.handle_messages([ChatMessage(1, BOB, 1_780_000_000.0, announcement_lines()[0])])
    subject.confirm_key(BOB, KEY)
    (known,) = [peer for peer in subject.view().peers if peer.username == "bob"]
    assert known.announcement is not None

    def feed(data: bytes) -> None:
        pushed = api.parse_event(data)
        if pushed is None or _may_speak_for_bob(pushed.message):
            return
        subject.handle_messages([pushed.message])
        view = subject.view()
        assert known in view.peers, "what bob says was changed by another"
        assert view.own_ip == IPv4Address("100.64.7.1")
        assert {peer.username for peer in view.peers} <= set(ROLES), "a stranger is in"
        assert all(
            peer.ip == IPv4Address("100.64.7.3") for peer in view.peers if peer.username == "eve"
            and peer.device == "host"
        ), "a static address was changed by a message"  # fmt: skip

    return feed


def _may_speak_for_bob(message: ChatMessage) -> bool:
    """Whether Keybase would have to lie for this to come from somebody else."""
    username = message.sender.username if message.sender is not None else ""
    return username in ("bob", "alice") or ROLES.get(username) in LEADER_ROLES or message.edits == 1


def _pushes() -> list[bytes]:
    texts = announcement_lines()
    messages = [message_json(9, "eve", text) for text in texts]
    deletion = message_json(10, "eve", "")
    deletion["content"] = {"type": "delete", "delete": {"messageIDs": [1, 2]}}
    edit = message_json(11, "eve", "")
    edit["content"] = {"type": "edit", "edit": {"messageID": 2, "body": "x"}}
    stranger = message_json(12, "mallory", texts[0])
    return [
        json.dumps({"type": "chat", "source": "remote", "msg": message}).encode()
        for message in [*messages, deletion, edit, stranger]
    ]


def _traversal(rng: Random) -> Callable[[bytes], None]:
    """Return what takes datagrams of anybody who does not know our credentials."""
    subject = Traversal(rng=Random(1), now=0.0)
    subject.set_host_addresses([HostAddress(BASE, "eth0")], 0.0)
    subject.set_stun_servers([SERVER], 0.0)
    turn = TurnServer(
        "relay.example.net", 3478, TurnTransport.UDP, StaticCredentials("kbwg", "secret")
    )
    subject.set_turn_servers([turn], 0.0)
    subject.relay_connected(turn, 0.0)
    peer = PeerId("bob")
    subject.add_peer(peer, credentials=BELIEF, role=Role.CONTROLLING, now=0.0)
    while subject.next_event() is not None:
        pass
    subject.datagrams_to_send()
    subject.frames_to_send()
    candidates, path = subject.local_candidates, subject.report(peer, 0.0).path

    def feed(data: bytes) -> None:
        source = rng.choice((PEER, SERVER, STRANGER))
        subject.receive_datagram(Datagram(source, BASE, data), 0.0)
        subject.receive_frame(turn, data, 0.0)
        assert subject.local_candidates == candidates, "a candidate that nobody vouches for"
        report = subject.report(peer, 0.0)
        assert report.path == path, "a path without a check"
        assert not report.pairs, "a pair that no authentic check made"
        assert subject.next_event() is None

    return feed


def _mapper(rng: Random) -> Callable[[bytes], None]:
    """Return what takes datagrams that are no answer to what was asked of the gateway."""
    subject = Mapper(
        Uplink(Gateway(GATEWAY.ip, "eth0"), BASE),
        local=Endpoint(BASE.ip, 40000),
        secret=b"secret",
        memory=GatewayMemory(),
        rng=Random(1),
        now=0.0,
    )
    subject.datagrams_to_send()

    def feed(data: bytes) -> None:
        if data[:1] == b"\x00" and data[1:2] == b"\x81":
            return  # NAT-PMP has nothing but the gateway's address to tell an answer by
        subject.receive_datagram(Datagram(GATEWAY, BASE, data), 0.0)
        while (event := subject.next_event()) is not None:
            assert type(event).__name__ != "PortMapped", "a mapping without our nonce"

    return feed


def _datagrams() -> Sequence[bytes]:
    forged = check_request(
        bytes(12),
        username=f"{BELIEF.local_ufrag}:{BELIEF.remote_ufrag}",
        password="guessed" * 4,
        priority=1_862_270_975,
        controlling=False,
        tie_breaker=1,
    )
    return [*stun_messages(), forged]


def machines() -> list[Target]:
    """Return every machine."""
    return [
        Target("directory", _pushes(), _directory),
        Target("traversal", _datagrams(), _traversal),
        Target(
            "port mapper", [PCP_MAP, NAT_PMP, bytes.fromhex("008000000000002acb007109")], _mapper
        ),
    ]
