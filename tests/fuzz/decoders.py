"""Decoders as targets: any bytes are a value or the documented error."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from random import Random
from typing import Final

from nat.candidate import CandidateType, local_candidate
from nat.errors import PortMappingError, StunError
from nat.machine import Endpoint
from nat.portmap import natpmp, pcp, ssdp
from nat.stun import message as stun
from nat.turn import framing
from nat.turn import message as turn
from sidecar import cache
from sidecar.announcement import Announcement, Leave, NatHint, decode, encode
from sidecar.directory.directory import Directory
from sidecar.errors import (
    AnnouncementError,
    BackendError,
    KeybaseError,
    PeersFileError,
    TeamConfigError,
)
from sidecar.identity import NodeId, PublicKey
from sidecar.keybase import api
from sidecar.keybase.models import ChatMessage
from sidecar.peers_file import parse_peers_file
from sidecar.team_config import parse_team_config
from sidecar.wireguard import genetlink, uapi

SUBNET: Final = IPv4Network("100.64.7.0/24")
KEY: Final = PublicKey(bytes(range(32)))
HERE: Final = Endpoint(IPv4Address("203.0.113.9"), 4000)


@dataclass(frozen=True, slots=True)
class Target:
    """Something that takes bytes.

    Attributes:
        corpus: examples of what it understands.
        make: returns what takes one input; made anew now and then, so that state stays small.
    """

    name: str
    corpus: Sequence[bytes]
    make: Callable[[Random], Callable[[bytes], None]]


def announcement_lines() -> list[str]:
    """Return one line of each kind."""
    candidates = tuple(
        local_candidate(kind, end, end)
        for kind, end in (
            (CandidateType.HOST, Endpoint(IPv4Address("192.168.1.7"), 7321)),
            (CandidateType.HOST, Endpoint(ip_address("2001:db8::7"), 7321)),
            (CandidateType.SERVER_REFLEXIVE, HERE),
        )
    )
    nat = NatHint(mapping="endpoint-independent", filtering="address-dependent")
    full = Announcement(KEY, HERE, 1_780_000_000_123, IPv4Address("100.64.7.9"), 7, candidates, nat)
    return [
        encode(full),
        encode(Announcement(KEY, None, 1_780_000_000_124, None, None, candidates)),
        encode(Announcement(KEY, HERE)),
        encode(Leave(1_780_000_000_125)),
    ]


def _plain(
    name: str,
    corpus: Sequence[bytes],
    call: Callable[[bytes], object],
    *errors: type[Exception],
) -> Target:
    def feed(data: bytes) -> None:
        try:
            call(data)
        except errors:
            pass

    return Target(name, corpus, lambda _: feed)


def _peers_file(content: bytes) -> None:
    parsed = parse_peers_file(content, SUBNET)
    entries = parsed.entries.values()
    assert len({entry.ip for entry in entries}) == len(entries), "an address with two owners"
    assert all(entry.ip in SUBNET for entry in entries)


def _announcement(data: bytes) -> None:
    line = decode(data.decode("utf-8", "surrogateescape"))
    assert decode(encode(line)) == line, "what was understood can be said again"


def _cli(data: bytes) -> None:
    """Try every reader on one answer: none knows what the CLI will print."""
    api.parse_event(data)
    api.error_of(data.decode("utf-8", "replace"))
    for read in (api.parse_device, api.parse_whoami):
        try:
            read(data)
        except KeybaseError:
            pass
    result = api.parse_reply(data, 1)
    api.parse_page(result)
    api.parse_tank(result)
    api.parse_device_ids(result)
    for call in (
        lambda: api.parse_membership("acme", result),
        lambda: api.parse_team_id("acme", result),
        lambda: api.message_id(result),
    ):
        try:
            call()
        except KeybaseError:
            pass


def _restore(data: bytes) -> None:
    subject = Directory(own=NodeId("me", "m" * 32, "host"), own_key=KEY, subnet=SUBNET)
    cache.restore(subject, data, "acme", SUBNET)
    cache.preferred_address(data)
    subject.view()


def _cached() -> bytes:
    subject = Directory(own=NodeId("me", "m" * 32, "host"), own_key=KEY, subnet=SUBNET)
    bob = NodeId("bob", "b" * 32, "server")
    texts = announcement_lines()
    subject.handle_messages(
        ChatMessage(n, bob, 1_780_000_000.0, text) for n, text in enumerate(texts, 1)
    )
    return b"".join(cache.dump(subject, "acme", peers_file_known=True))


def _stream(data: bytes) -> None:
    splitter = framing.StreamSplitter()
    for start in range(0, len(data), 7):
        for frame in splitter.feed(data[start : start + 7]):
            assert len(frame) <= len(data)


def message_json(number: int, username: str, text: str) -> dict[str, object]:
    """Return a message as `read` and `api-listen` show it."""
    return {
        "id": number,
        "conversation_id": "0" * 64,
        "channel": {
            "name": "acme",
            "members_type": "team",
            "topic_type": "chat",
            "topic_name": "announce",
        },
        "sender": {
            "uid": "f" * 32,
            "username": username,
            "device_id": username[0] * 32,
            "device_name": "host",
        },
        "sent_at": 1_780_000_000,
        "sent_at_ms": 1_780_000_000_000,
        "content": {"type": "text", "text": {"body": text, "payments": None}},
        "prev": None,
        "unread": False,
        "channel_mention": "none",
    }


def replies() -> list[bytes]:
    """Return one answer of every call."""
    member = {"uv": {"uid": "f" * 32, "eldestSeqno": 1}, "username": "bob", "status": 0, "role": 2}
    team = {"team_id": "f" * 30 + "24", "fq_name": "acme", "role": 2}
    results: list[dict[str, object]] = [
        {
            "messages": [
                {"msg": message_json(5, "bob", announcement_lines()[0])},
                {"error": "exploded"},
            ],
            "pagination": {"next": "AQ==", "num": 2, "last": False},
            "ratelimits": [{"tank": "chat", "capacity": 900, "reset": 700, "gas": 500}],
        },
        {"name": "acme", "members": {"owners": [member], "bots": None}, "keyGeneration": 3},
        {"teams": [team]},
        {"devices": [{"id": "b" * 32, "description": "host", "type": "desktop"}]},
        {"message": "message sent", "id": 7},
    ]
    device = {"name": "host", "deviceID": "b" * 32, "type": "desktop"}
    who = {"uid": "f" * 32, "username": "bob"}
    error = {"code": 0, "message": "too many", "data": {"windowReset": 5}}
    event = {"type": "chat", "source": "remote", "msg": message_json(9, "bob", "hello")}
    objects: list[object] = [
        *({"id": 1, "result": result} for result in results),
        {"id": 1, "error": error},
        {"LoggedIn": True, "Username": "bob", "Device": device},
        {"configured": True, "loggedIn": True, "user": who, "deviceName": "host"},
        event,
    ]
    return [json.dumps(one).encode() for one in objects]


def stun_messages() -> list[bytes]:
    """Return Binding messages of every class."""
    tid, mapped = bytes(range(12)), Endpoint(IPv4Address("203.0.113.9"), 4000)
    return [
        stun.binding_request(tid),
        stun.success_response(tid, mapped, password="password" * 4),
        stun.check_request(
            tid,
            username="here:there",
            password="password" * 4,
            priority=1,
            controlling=True,
            tie_breaker=5,
        ),
        turn.send_indication(tid, mapped, b"data"),
        bytes.fromhex("0003000c2112a442") + tid + bytes.fromhex("0019000411000000000d000400000258"),
        bytes.fromhex("40010003616263"),
    ]


PEERS_JSON: Final = json.dumps(
    [
        {"username": "alice", "device": "host", "ip": "100.64.7.1"},
        {"username": "bob", "device": "host", "ip": "100.64.7.2", "role": "guest", "relay": 1},
    ]
).encode()
KBWG_JSON: Final = json.dumps(
    {
        "v": 1,
        "subnet": "100.64.7.0/24",
        "topic": "announce",
        "policy": "mesh",
        "stun_servers": ["stun.example.net:3478"],
        "turn_servers": ["turn:relay.example.net?transport=udp"],
        "turn_username": "kbwg",
        "mtu": 1420,
    }
).encode()
PCP_MAP: Final = bytes.fromhex(
    "02810000 00000e10 0000002a 000000000000000000000000"
    "000102030405060708090a0b 11000000 cafe 1234 00000000 00000000 0000ffff cb007109"
)
NAT_PMP: Final = bytes.fromhex("0081000000000001cafe123400000e10")
SSDP: Final = (
    b"HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"LOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"
)
UAPI: Final = (
    b"private_key=" + b"ab" * 32 + b"\nlisten_port=7\npublic_key=" + b"cd" * 32
    + b"\nendpoint=[2001:db8::1]:7\nallowed_ip=100.64.7.2/32\nlast_handshake_time_sec=1\n"
    b"last_handshake_time_nsec=1\nrx_bytes=1\ntx_bytes=2\npersistent_keepalive_interval=25\n"
    b"protocol_version=1\nerrno=0\n\n"
)  # fmt: skip


def decoders() -> list[Target]:
    """Return every decoder."""
    lines = [line.encode() for line in announcement_lines()]
    datagrams = stun_messages()
    portmaps = [PCP_MAP, NAT_PMP, bytes.fromhex("008000000000002acb007109")]
    return [
        _plain("announcement", lines, _announcement, AnnouncementError),
        _plain("peers.json", [PEERS_JSON], _peers_file, PeersFileError),
        _plain("kbwg.json", [KBWG_JSON], parse_team_config, TeamConfigError),
        _plain("CLI replies", replies(), _cli, KeybaseError),
        _plain("cached directory", [_cached()], _restore),
        _plain("STUN", datagrams, stun.parse, StunError),
        _plain("TURN", datagrams, turn.parse, StunError),
        _plain("ChannelData", datagrams, framing.parse_channel_data, StunError),
        _plain("TURN over TCP", datagrams, _stream, StunError),
        _plain("PCP", portmaps, pcp.parse, PortMappingError),
        _plain("NAT-PMP", portmaps, natpmp.parse, PortMappingError),
        _plain("SSDP", [SSDP], ssdp.parse_answer, PortMappingError),
        _plain("wireguard-go", [UAPI], uapi.decode_device, BackendError),
        _plain(
            "WireGuard's netlink",
            [bytes.fromhex("0800010001000000"), bytes.fromhex("060006000700000008000700000000ff")],
            lambda data: genetlink.decode_dump([data]),
            BackendError,
        ),
    ]
