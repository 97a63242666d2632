"""Many members over one chat log, each hearing it in its own time: all hold the same book."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.agent.schedule import AnnouncementSchedule
from sidecar.announcement import Announcement, encode
from sidecar.directory.addressing import LEASE
from sidecar.directory.directory import Directory
from sidecar.directory.ledger import WINDOW
from sidecar.identity import NodeId, PublicKey
from sidecar.keybase.models import ChatMessage, Membership, TeamRole
from sidecar.peers_file import MeshRole, PeersFile, PeersFileEntry
from sidecar.team_config import Policy

START = 1_780_000_000.0
"""Server's time of the beginning, seconds since the epoch."""

LOOK = 1.0
"""Seconds until a member looks at what it has heard; the mesh takes 0.1."""


@dataclass
class World:
    """One channel, whose messages reach everybody after delays of their own, and one clock."""

    seed: int
    longest_delay: float = 2.0
    now: float = 0.0
    log: list[ChatMessage] = field(default_factory=list)
    members: list["Member"] = field(default_factory=list)
    _due: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._count), action))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = until

    def post(self, sender: NodeId, text: str) -> int:
        """Append a message; each member hears it later, some of them twice."""
        message = ChatMessage(len(self.log) + 1, sender, START + self.now, text)
        self.log.append(message)
        for member in self.members:
            for _ in range(self.rng.choice((1, 1, 1, 2))):
                delay = self.rng.uniform(0.05, self.longest_delay)
                self.at(self.now + delay, lambda member=member: member.hear([message]))  # type: ignore[misc]
        return message.id


class Member:
    """A directory and an announcement schedule: what of an agent has to do with addresses."""

    def __init__(
        self,
        world: World,
        number: int,
        team: Membership,
        subnet: IPv4Network,
        listed: PeersFile | None,
        preferred: IPv4Address | None = None,
    ) -> None:
        self.node = NodeId(f"user{number}", f"{number:032x}", "host")
        self.key = PublicKey(number.to_bytes(32, "big"))
        self.directory = Directory(
            own=self.node, own_key=self.key, subnet=subnet, preferred=preferred
        )
        self.directory.handle_membership(team)
        self.directory.handle_peers_file(listed)
        self.directory.handle_policy(Policy.MESH)
        self._world = world
        self._rng = Random(f"{world.seed} {number}")
        self._schedule = AnnouncementSchedule(1500.0)
        self._posted: IPv4Address | None = None
        self._looking = False
        self.posts = 0

    def start(self) -> None:
        self._world.members.append(self)
        self.hear(list(self._world.log))
        self._consider(first=True)

    def hear(self, messages: list[ChatMessage]) -> None:
        """Take messages in, and look at what they mean soon, as the mesh does."""
        self.directory.handle_messages(messages)
        if not self._looking:
            self._looking = True
            self._world.at(self._world.now + LOOK, self._consider)

    def _consider(self, *, first: bool = False) -> None:
        self._looking = False
        ip, _ = self.directory.claim(self._rng)
        if first or ip != self._posted:
            self._schedule.changed(self._world.now)
            self._wake()

    def _wake(self) -> None:
        due = self._schedule.next_timeout()
        if due is not None:
            self._world.at(due, self._post)

    def _post(self) -> None:
        now = self._world.now
        if not self._schedule.take(now):
            return
        ip, since = self.directory.claim(self._rng)
        seq = self.directory.next_seq(int((START + now) * 1000))
        self._posted = ip
        self.posts += 1
        id_ = self._world.post(self.node, encode(Announcement(self.key, None, seq, ip, since)))
        self.directory.note_own_post(id_)
        self._schedule.posted(now)
        self._wake()


def team_of(count: int) -> Membership:
    return Membership("acme", {f"user{n}": TeamRole.WRITER for n in range(count)})


def book(member: Member) -> dict[str, IPv4Address]:
    view = member.directory.view()
    found = {peer.username: peer.ip for peer in view.peers if peer.ip is not None}
    if view.own_ip is not None:
        found[member.node.username] = view.own_ip
    return found


def start_all(world: World, members: list[Member]) -> None:
    for member in members:
        world.at(world.rng.uniform(0.0, 1.0), member.start)


def test_two_hundred_members_that_start_in_the_same_second_all_get_an_address() -> None:
    """In a /24 that is nearly full then: 254 addresses, of which 20 are static."""
    subnet = IPv4Network("100.64.7.0/24")
    count = 200
    listed = PeersFile(
        {
            (f"server{n}", "host"): PeersFileEntry(
                f"server{n}", "host", subnet[n + 1], MeshRole.SERVER
            )
            for n in range(20)
        }
    )
    team = Membership(
        "acme", team_of(count).roles | {f"server{n}": TeamRole.WRITER for n in range(20)}
    )
    world = World(seed=5)
    members = [Member(world, n, team, subnet, listed) for n in range(count)]
    start_all(world, members)

    world.run(until=240.0)

    addresses = [member.directory.view().own_ip for member in members]
    assert None not in addresses
    assert len(set(addresses)) == count
    assert not set(addresses) & {subnet[n + 1] for n in range(20)}
    # What each believes of the others is what they have.
    assert all(book(member) == book(members[0]) for member in members[1:])
    assert max(member.posts for member in members) <= 12


def test_whoever_comes_when_all_addresses_are_taken_is_told_and_gets_the_first_that_is_free() -> (
    None
):
    subnet = IPv4Network("100.64.7.0/29")
    world = World(seed=1)
    members = [Member(world, n, team_of(7), subnet, None) for n in range(7)]
    start_all(world, members)
    world.run(until=60.0)

    (late,) = [member for member in members if member.directory.view().own_ip is None]
    assert late.directory.claim(Random(1)) == (None, None), "what the mesh reports as exhaustion"

    gone = next(member for member in members if member is not late)
    freed = gone.directory.view().own_ip
    roles = {name: role for name, role in team_of(7).roles.items() if name != gone.node.username}
    for member in members:
        member.directory.handle_membership(Membership("acme", roles))
    late._consider()
    world.run(until=120.0)

    assert late.directory.view().own_ip == freed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.sampled_from([29, 28, 24]))
def test_any_delay_order_and_repetition_of_the_same_log_is_the_same_book_for_everybody(
    seed: int, count: int, prefix: int
) -> None:
    subnet = IPv4Network((IPv4Address("100.64.7.0"), prefix))
    world = World(seed=seed, longest_delay=20.0)
    members = [Member(world, n, team_of(count), subnet, None) for n in range(count)]
    for member in members:
        world.at(world.rng.uniform(0.0, 3 * LEASE), member.start)

    world.run(until=3 * LEASE + 600.0)

    books = [book(member) for member in members]
    assert all(one == books[0] for one in books)
    assert len(set(books[0].values())) == len(books[0]), "no address has two holders"
    assert len(books[0]) == min(count, subnet.num_addresses - 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_a_newcomer_who_sees_the_last_four_hours_only_holds_the_same_book(
    seed: int, count: int
) -> None:
    subnet = IPv4Network("100.64.7.0/28")
    world = World(seed=seed)
    members = [Member(world, n, team_of(count + 1), subnet, None) for n in range(count)]
    start_all(world, members)
    world.run(until=3 * WINDOW)

    newcomer = Member(world, count, team_of(count + 1), subnet, None)
    seen = [message for message in world.log if message.sent_at > START + world.now - WINDOW]
    assert len(seen) < len(world.log)
    newcomer.directory.handle_messages(seen)

    assert book(newcomer) == book(members[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_member_that_returns_prefers_the_address_that_it_had(seed: int) -> None:
    subnet = IPv4Network("100.64.7.0/24")
    world = World(seed=seed)
    members = [Member(world, n, team_of(3), subnet, None) for n in range(3)]
    start_all(world, members)
    world.run(until=60.0)
    had = members[0].directory.view().own_ip

    world.members.remove(members[0])
    world.run(until=60.0 + 3 * LEASE)
    again = Member(world, 0, team_of(3), subnet, None, preferred=had)
    world.at(world.now, again.start)
    world.run(until=world.now + 60.0)

    assert again.directory.view().own_ip == had
