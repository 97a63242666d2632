"""The mesh as a machine: what comes in becomes peers, endpoints and announcements."""

import base64
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from random import Random

import pytest

from nat.candidate import CandidateType, local_candidate
from nat.gathering import HostAddress
from nat.machine import Endpoint
from nat.traversal import Traversal
from sidecar.announcement import Announcement, Leave, encode
from sidecar.directory.directory import Directory
from sidecar.identity import NodeId, PrivateKey
from sidecar.keybase.models import ChatMessage, Membership, TeamRole
from sidecar.mesh.bursts import BURST
from sidecar.mesh.events import (
    AnnouncementChanged,
    DeviceChanged,
    DirectoryChanged,
    EndpointsChanged,
    LookWanted,
    MeshEvent,
)
from sidecar.mesh.mesh import Mesh
from sidecar.mesh.trials import TRIAL
from sidecar.mesh.withdrawals import GRACE
from sidecar.status import PeerState
from sidecar.wireguard.changes import OpenPeer, UpdatePeer
from sidecar.wireguard.device import PeerConfig
from sidecar.wireguard.device import PeerState as DevicePeer

SUBNET = IPv4Network("100.64.7.0/24")
TEAM = Membership("acme", {"alice": TeamRole.OWNER, "bob": TeamRole.WRITER})
NOW = 1_780_000_000.0
WALL = datetime.fromtimestamp(NOW, UTC)


class Host:
    """A mesh, its key, and the world as it sees it."""

    def __init__(self, name: str, ip: str, seed: int, subnet: IPv4Network = SUBNET) -> None:
        self.node = NodeId(name, name[0] * 32, "host")
        self.key = PrivateKey(bytes([seed]) * 32).clamped()
        self.base = Endpoint(IPv4Address(ip), 20000)
        rng = Random(seed)
        self.directory = Directory(own=self.node, own_key=self.key.public_key, subnet=subnet)
        self.traversal = Traversal(rng=rng, now=0.0, refused=(subnet,))
        self.mesh = Mesh(
            own=self.node,
            private_key=self.key,
            subnet=subnet,
            directory=self.directory,
            traversal=self.traversal,
            rng=rng,
        )
        self.mesh.handle_membership(TEAM, 0.0)
        self.traversal.set_host_addresses([HostAddress(self.base, "eth0")], 0.0)
        self.mesh.set_loaded(0.0)
        self.mesh.drain_traversal(0.0)

    def events(self) -> list[MeshEvent]:
        found: list[MeshEvent] = []
        while (event := self.mesh.next_event()) is not None:
            found.append(event)
        return found

    def message(self, id_: int) -> ChatMessage:
        wanted = self.mesh.announcement
        assert wanted is not None
        line = Announcement(
            wanted.public_key,
            wanted.endpoint,
            int(NOW * 1000) + id_,
            wanted.overlay_ip,
            wanted.since,
            wanted.candidates,
        )
        self.mesh.posted(wanted, id_, 0.0)
        return ChatMessage(id_, self.node, NOW, encode(line))

    def observe(
        self, *, handshake: datetime | None, endpoint: Endpoint | None, now: float = 0.0
    ) -> None:
        peers = {
            key: DevicePeer(config, endpoint, 0, 100, 100, handshake)
            for key, config in self.mesh.peer_configs.items()
        }
        self.mesh.observe(peers, WALL, now)


def exchange(one: Host, other: Host, until: float, *, now: float = 0.0) -> None:
    """Carry datagrams between two hosts without delay, from `now` on."""
    while True:
        moved = True
        while moved:
            moved = False
            for source, target in ((one, other), (other, one)):
                for datagram in source.mesh.datagrams_to_send():
                    moved = True
                    target.mesh.receive_datagram(datagram, now)
        due = min(t for t in (one.mesh.next_timeout(), other.mesh.next_timeout()) if t is not None)
        if due > until:
            return
        now = max(now, due)
        one.mesh.handle_timeout(now)
        other.mesh.handle_timeout(now)


@pytest.fixture
def pair() -> tuple[Host, Host]:
    """Return two hosts that have read each other's announcements; the first one controls."""
    a, b = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
    if b.key.public_key < a.key.public_key:
        a, b = b, a
    messages = [a.message(1), b.message(2)]
    for host in (a, b):
        host.mesh.handle_messages(messages, 0.0)
        host.observe(handshake=None, endpoint=None)
    return a, b


def test_nothing_is_announced_before_the_directory_is_loaded() -> None:
    host = Host("alice", "192.0.2.1", 1)
    rng = Random(1)
    fresh = Mesh(
        own=host.node,
        private_key=host.key,
        subnet=SUBNET,
        directory=host.directory,
        traversal=host.traversal,
        rng=rng,
    )
    fresh.handle_membership(TEAM, 0.0)

    assert fresh.announcement is None
    assert host.mesh.announcement is not None


def test_what_we_say_holds_our_candidates_and_a_claim() -> None:
    host = Host("alice", "192.0.2.1", 1)

    wanted = host.mesh.announcement

    assert wanted is not None
    assert wanted.endpoint == host.base
    assert wanted.overlay_ip in SUBNET
    assert [c.endpoint for c in wanted.candidates] == [host.base]
    assert any(isinstance(event, AnnouncementChanged) for event in host.events())


def test_an_address_is_used_once_the_claim_was_read_back(pair: tuple[Host, Host]) -> None:
    fresh = Host("alice", "192.0.2.1", 1)
    assert fresh.mesh.addresses == frozenset()

    for host in pair:
        assert host.mesh.own_ip is not None
        assert host.mesh.addresses == {IPv4Interface((host.mesh.own_ip, 24))}


def test_a_peer_has_exactly_its_address_as_allowed_ip(pair: tuple[Host, Host]) -> None:
    a, b = pair
    assert b.mesh.own_ip is not None

    assert a.mesh.peer_configs == {
        b.key.public_key: PeerConfig(
            b.key.public_key, frozenset({IPv4Network((b.mesh.own_ip, 32))})
        )
    }
    assert any(isinstance(event, DeviceChanged) for event in a.events())


def test_nobody_is_checked_or_answered_before_wireguard_has_the_peer() -> None:
    a, b = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
    messages = [a.message(1), b.message(2)]
    for host in (a, b):
        host.mesh.handle_messages(messages, 0.0)
    b.observe(handshake=None, endpoint=None)

    exchange(a, b, until=0.5)
    assert [p.state for p in a.mesh.peer_statuses(0.5)] == [PeerState.CHECKING]
    assert [p.path for p in b.mesh.peer_statuses(0.5)] == [None]

    a.observe(handshake=None, endpoint=None, now=0.5)
    exchange(a, b, until=1.0, now=0.5)
    assert [p.state for p in a.mesh.peer_statuses(1.0)] == [PeerState.OPENING]


def test_the_controlling_side_opens_and_the_other_waits(pair: tuple[Host, Host]) -> None:
    a, b = pair
    exchange(a, b, until=0.4)

    updates = [e.changes for e in a.events() if isinstance(e, EndpointsChanged)]
    assert updates == [(OpenPeer(b.key.public_key, b.base, 25),)]
    said = b.events()
    assert not [e for e in said if isinstance(e, EndpointsChanged)]
    assert [e for e in said if isinstance(e, LookWanted)], "or it is noticed a second late"


def test_a_peer_is_connected_once_wireguard_has_a_session(pair: tuple[Host, Host]) -> None:
    a, b = pair
    exchange(a, b, until=0.5)
    assert [p.state for p in a.mesh.peer_statuses(0.5)] == [PeerState.OPENING]

    a.observe(handshake=WALL, endpoint=b.base, now=0.5)

    (status,) = a.mesh.peer_statuses(1.0)
    assert status.state is PeerState.CONNECTED
    assert status.path is not None
    assert (status.path.kind, status.path.remote.address) == ("host", str(b.base))


def test_leave_removes_the_peer_at_once(pair: tuple[Host, Host]) -> None:
    a, b = pair
    leave = ChatMessage(9, b.node, NOW, encode(Leave(int(NOW * 1000) + 9)))

    a.mesh.handle_messages([leave], 1.0)

    assert a.mesh.peer_configs == {}
    assert a.mesh.peer_statuses(1.0) == ()


def test_a_legacy_peer_is_opened_at_once_where_it_says(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    old = NodeId("bob", "f" * 32, "old")
    key = PrivateKey(bytes([9]) * 32).clamped().public_key
    where = Endpoint(IPv4Address("203.0.113.9"), 51820)
    a.events()

    a.mesh.handle_messages([ChatMessage(5, old, NOW, f"ANNOUNCE {where} {key}")], 1.0)

    assert UpdatePeer(key, where, 25) in [
        change for e in a.events() if isinstance(e, EndpointsChanged) for change in e.changes
    ]
    assert PeerState.LEGACY in [p.state for p in a.mesh.peer_statuses(1.0)]


def test_a_new_key_of_a_device_replaces_its_peer(pair: tuple[Host, Host]) -> None:
    a, b = pair
    key = PrivateKey(bytes([9]) * 32).clamped().public_key
    candidate = local_candidate(CandidateType.HOST, b.base, b.base)
    line = Announcement(key, b.base, int(NOW * 1000) + 50, None, None, (candidate,))

    a.mesh.handle_messages([ChatMessage(5, b.node, NOW, encode(line))], 1.0)

    assert set(a.mesh.peer_configs) == {key}


def test_an_announcement_that_is_up_to_date_is_not_posted_again(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    a.events()

    a.mesh.handle_membership(TEAM, 2.0)

    assert a.mesh.up_to_date
    assert not [e for e in a.events() if isinstance(e, AnnouncementChanged)]


@pytest.mark.parametrize("tail", ["", ' {"v":2,"seq":1780000000001}'], ids=["legacy", "versioned"])
def test_a_key_of_small_order_makes_no_peer(tail: str) -> None:
    host = Host("alice", "192.0.2.1", 1)
    bob = NodeId("bob", "b" * 32, "host")
    zero = base64.b64encode(bytes(32)).decode()

    text = f"ANNOUNCE 192.0.2.2:4000 {zero}{tail}"
    host.mesh.handle_messages([ChatMessage(1, bob, NOW, text)], 0.0)

    assert host.mesh.peer_configs == {}


def test_a_burst_of_messages_is_looked_at_together() -> None:
    host = Host("alice", "192.0.2.1", 1)
    host.events()
    keys = [PrivateKey(bytes([n]) * 32).clamped().public_key for n in range(10, 60)]
    devices = [NodeId("bob", f"{n:032x}", f"d{n}") for n in range(50)]
    lines = [
        ChatMessage(n, device, NOW, encode(Announcement(key, host.base, int(NOW * 1000) + n)))
        for n, (device, key) in enumerate(zip(devices, keys, strict=True), 1)
    ]

    for number, message in enumerate(lines):
        host.mesh.handle_messages([message], 5.0 + number / 1000)

    assert len(host.mesh.peer_configs) == 1, "the first one at once"
    due = host.mesh.next_timeout()
    assert due is not None
    assert due <= 5.0 + BURST
    host.mesh.handle_timeout(5.0 + BURST)
    assert set(host.mesh.peer_configs) == set(keys)
    assert sum(isinstance(event, DirectoryChanged) for event in host.events()) == 2


def test_each_claimant_of_a_key_is_tried_until_a_check_passes() -> None:
    a, b = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
    thief = NodeId("bob", "f" * 32, "thief")
    genuine = b.message(2)
    stolen = ChatMessage(1, thief, NOW, encode(Announcement(b.key.public_key, b.base, 7)))
    a.mesh.handle_messages([stolen, genuine], 0.0)
    b.mesh.handle_messages([a.message(3)], 0.0)

    def play(until: float, now: float) -> None:
        a.observe(handshake=None, endpoint=None, now=now)
        b.observe(handshake=None, endpoint=None, now=now)
        exchange(a, b, until=until, now=now)

    play(TRIAL - 1, 0.0)
    assert [(p.device, p.path) for p in a.mesh.peer_statuses(TRIAL - 1)] == [("thief", None)]

    play(TRIAL + 0.1, TRIAL - 1)
    play(TRIAL + 2, TRIAL + 0.1)
    (status,) = a.mesh.peer_statuses(TRIAL + 2)
    assert (status.device, status.path is not None) == ("host", True)

    play(5 * TRIAL, TRIAL + 2)
    assert [p.device for p in a.mesh.peer_statuses(5 * TRIAL)] == ["host"], "proved for good"


def test_a_request_of_a_peer_has_its_paths_checked_at_once_and_its_relays_too() -> None:
    alice, bob = Host("alice", "192.168.1.2", 1), Host("bob", "192.168.1.3", 2)
    alice.mesh.handle_messages([bob.message(1)], 0.0)
    alice.observe(handshake=None, endpoint=None)
    device = (bob.node.username, bob.node.device_id)
    assert [peer.node for peer in alice.mesh.sought] == [bob.node]
    now = run_until_it_rests(alice)
    relayed = Endpoint(IPv4Address("198.51.100.9"), 5000)
    relay = local_candidate(CandidateType.RELAYED, relayed, relayed)

    alice.mesh.check_now(device, (), now)
    asked = destinations(alice, now)
    alice.mesh.check_now(device, (relay,), now)
    asked_relay = destinations(alice, now)
    alice.mesh.check_now(("mallory", "m" * 32), (relay,), now)

    assert asked == {bob.base}
    assert asked_relay == {bob.base, relayed}
    # The next announcement is the truth, and what was proposed is forgotten.
    alice.mesh.handle_messages([bob.message(2)], now)
    alice.mesh.check_now(device, (), now + 60)
    assert destinations(alice, now + 60) == {bob.base}


def run_until_it_rests(host: Host) -> float:
    """Let checks go unanswered until they have become rare; return the time."""
    now = 0.0
    while now < 120.0:
        due = host.mesh.next_timeout()
        now = max(now + 0.01, due or 121.0)
        host.mesh.handle_timeout(now)
        host.mesh.datagrams_to_send()
    return now


def destinations(host: Host, now: float) -> set[Endpoint]:
    """Return where checks go within a second."""
    sent = {datagram.destination for datagram in host.mesh.datagrams_to_send()}
    end = now + 1.0
    while (due := host.mesh.next_timeout()) is not None and due <= end:
        host.mesh.handle_timeout(due)
        sent |= {datagram.destination for datagram in host.mesh.datagrams_to_send()}
    return sent


def deletion(of: int, id_: int) -> ChatMessage:
    return ChatMessage(id_, NodeId("bob", "b" * 32, "phone"), NOW, None, deletes=(of,))


def test_a_peer_whose_announcement_is_deleted_stays_until_it_could_have_said_it_again() -> None:
    alice, bob = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
    key = bob.key.public_key
    alice.mesh.handle_messages([bob.message(1)], 0.0)
    alice.events()

    alice.mesh.handle_messages([deletion(1, 2)], 10.0)
    alice.mesh.handle_timeout(10.2)
    assert key in alice.mesh.peer_configs
    alice.mesh.handle_timeout(9.9 + GRACE)
    assert key in alice.mesh.peer_configs
    alice.mesh.handle_timeout(10.2 + GRACE)
    assert alice.mesh.peer_configs == {}
    assert any(isinstance(event, DeviceChanged) for event in alice.events())


def test_a_peer_that_says_it_again_was_never_gone() -> None:
    alice, bob = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
    alice.mesh.handle_messages([bob.message(1)], 0.0)
    alice.mesh.handle_timeout(1.0)
    alice.events()

    for now, message in ((10.0, deletion(1, 2)), (11.0, bob.message(3))):
        alice.mesh.handle_messages([message], now)
        alice.mesh.handle_timeout(now + 0.5)
    alice.mesh.handle_timeout(100.0)

    assert list(alice.mesh.peer_configs) == [bob.key.public_key]
    assert not any(isinstance(event, DeviceChanged) for event in alice.events())


def test_a_withdrawn_line_keeps_nobody_who_leaves_or_is_removed() -> None:
    for end in ("leaves", "is removed"):
        alice, bob = Host("alice", "192.0.2.1", 1), Host("bob", "192.0.2.2", 2)
        alice.mesh.handle_messages([bob.message(1), deletion(1, 2)], 0.0)
        if end == "leaves":
            line = encode(Leave(int(NOW * 1000) + 5))
            alice.mesh.handle_messages([ChatMessage(3, bob.node, NOW, line)], 1.0)
            alice.mesh.handle_timeout(1.2)
        else:
            alice.mesh.handle_membership(Membership("acme", {"alice": TeamRole.OWNER}), 1.0)
        assert alice.mesh.peer_configs == {}, end


def test_our_own_address_stays_while_we_say_again_that_it_is_ours() -> None:
    alice = Host("alice", "192.0.2.1", 1)
    alice.mesh.handle_messages([alice.message(1)], 0.0)
    ip = alice.mesh.own_ip
    assert ip is not None

    alice.mesh.handle_messages([ChatMessage(2, alice.node, NOW, None, deletes=(1,))], 10.0)
    alice.mesh.handle_timeout(10.2)
    assert alice.mesh.own_ip == ip
    wanted = alice.mesh.announcement
    assert wanted is not None
    assert wanted.overlay_ip == ip, "claimed again"
    alice.mesh.handle_timeout(11.0 + GRACE)
    assert alice.mesh.own_ip is None


def test_the_older_of_two_agents_as_one_device_speaks_again_and_the_younger_falls_silent() -> None:
    host = Host("alice", "192.0.2.1", 1)
    host.directory.own_run = 100
    host.directory.note_own_post(1)
    host.mesh.handle_messages([host.message(1)], 0.0)
    host.events()

    def clone(id_: int, run: int) -> ChatMessage:
        said = Announcement(host.key.public_key, host.base, int(NOW * 1000) + id_, run=run)
        return ChatMessage(id_, host.node, NOW, encode(said))

    host.mesh.handle_messages([clone(2, run=200)], 1.0)
    assert any(isinstance(event, AnnouncementChanged) for event in host.events())
    host.mesh.handle_messages([clone(3, run=200)], 2.0)
    assert not [e for e in host.events() if isinstance(e, AnnouncementChanged)], "once is enough"
    assert host.mesh.announcement is not None

    host.mesh.handle_messages([clone(4, run=50)], 3.0)
    assert host.mesh.announcement is not None, "the older one must hear of us, too"
    host.directory.note_own_post(5)
    host.mesh.handle_messages([host.message(5)], 4.0)

    assert host.mesh.announcement is None


def test_what_was_known_at_the_last_run_is_tentative_until_the_team_has_been_read() -> None:
    host = Host("alice", "192.0.2.1", 1)
    host.mesh.loaded = False
    host.events()

    host.mesh.set_loaded(0.0, tentative=True)
    assert (host.mesh.loaded, host.mesh.tentative) == (True, True)
    host.events()
    host.mesh.set_loaded(1.0)
    assert not host.mesh.tentative
    assert any(isinstance(event, DeviceChanged) for event in host.events())
    host.mesh.set_loaded(2.0, tentative=True)
    assert not host.mesh.tentative
