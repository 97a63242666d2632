"""When and what the announcer posts, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest

from nat.gathering import HostAddress
from nat.machine import Endpoint
from nat.traversal import Traversal
from sidecar.agent.announcer import LEAVE_PATIENCE, SPREAD, Announcer
from sidecar.agent.schedule import DEBOUNCE, FIRST_RETRY
from sidecar.agent.server_clock import ServerClock
from sidecar.announcement import Announcement, Leave, decode, encode
from sidecar.directory.directory import Directory
from sidecar.errors import IdentityChangedError, KeybaseError, RateLimitedError
from sidecar.identity import NodeId, PrivateKey
from sidecar.keybase.models import ChatMessage, Membership, TeamRole
from sidecar.mesh.mesh import Mesh

from ...support import virtual_time
from ...support.virtual_time import VirtualTimeLoop

SUBNET = IPv4Network("100.64.7.0/24")
INTERVAL = 1500.0
EPOCH = 1_780_000_000.0
KEY = PrivateKey(bytes([7]) * 32).clamped()
ALICE = NodeId("alice", "a" * 32, "host")


class Post:
    """The channel as the announcer sees it: lines with their times; fails or hangs on command."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []
        self.failing = False
        self.hanging = False
        self.refusing = 0.0

    async def __call__(self, line: str) -> int:
        if self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            raise KeybaseError("the service is gone")
        if self.refusing:
            raise RateLimitedError("too many calls", self.refusing)
        self.lines.append((round(asyncio.get_running_loop().time(), 3), line))
        return len(self.lines)


class Scene:
    """An announcer, the mesh that it asks, and the channel."""

    def __init__(self) -> None:
        self.post = Post()
        self.troubles: list[KeybaseError | None] = []
        self.told_ahead: list[float] = []
        self.fast = 0.0
        directory = Directory(own=ALICE, own_key=KEY.public_key, subnet=SUBNET)
        self.traversal = Traversal(rng=Random(1), now=0.0, refused=(SUBNET,))
        self.mesh = Mesh(
            own=ALICE,
            private_key=KEY,
            subnet=SUBNET,
            directory=directory,
            traversal=self.traversal,
            rng=Random(1),
        )
        self.mesh.handle_membership(Membership("acme", {"alice": TeamRole.OWNER}), 0.0)
        self.mesh.set_loaded(0.0)
        loop = asyncio.get_running_loop()
        self.announcer = Announcer(
            self.post,
            self.mesh,
            directory,
            own=ALICE,
            on_posted=lambda line, id_: self.mesh.posted(line, id_, loop.time()),
            on_trouble=self.troubles.append,
            interval=INTERVAL,
            clock=ServerClock(lambda: EPOCH + self.fast + loop.time(), self._on_clock),
            rng=Random(1),
        )

    def _on_clock(self, ahead: float) -> None:
        self.told_ahead.append(ahead)
        self.announcer.changed()

    def move_to(self, ip: str) -> None:
        """Give the host another address, and tell the announcer."""
        now = asyncio.get_running_loop().time()
        base = Endpoint(IPv4Address(ip), 20000)
        self.traversal.set_host_addresses([HostAddress(base, "eth0")], now)
        self.mesh.drain_traversal(now)
        self.announcer.changed()

    def announced(self) -> list[tuple[float, str]]:
        """Return when which endpoint was announced."""
        decoded = [(at, decode(line)) for at, line in self.post.lines]
        return [(at, str(a.endpoint)) for at, a in decoded if isinstance(a, Announcement)]


def play(act: Callable[[Scene], Awaitable[None]], seconds: float) -> Scene:
    """Run the announcer for so long, beside what the test does."""
    return virtual_time.play(Scene, lambda scene: scene.announcer.run(), act, until=seconds)


async def an_address(scene: Scene) -> None:
    scene.move_to("192.0.2.1")


def test_a_first_address_is_announced_at_once_and_then_every_interval() -> None:
    scene = play(an_address, 2 * INTERVAL + 100)

    assert [at for at, _ in scene.announced()] == [
        DEBOUNCE,
        DEBOUNCE + INTERVAL,
        DEBOUNCE + 2 * INTERVAL,
    ]


def test_nothing_is_posted_without_candidates() -> None:
    async def nothing(scene: Scene) -> None:
        scene.announcer.changed()

    assert play(nothing, 100).post.lines == []


def test_changes_that_come_together_are_one_post_with_the_last_state() -> None:
    async def two_moves(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(DEBOUNCE / 2)
        scene.move_to("192.0.2.2")

    assert play(two_moves, 100).announced() == [(DEBOUNCE, "192.0.2.2:20000")]


def test_every_line_has_a_higher_number_than_the_one_before() -> None:
    async def two_moves(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(1)
        scene.move_to("192.0.2.2")

    lines = [decode(line) for _, line in play(two_moves, 100).post.lines]
    numbers = [line.seq for line in lines if isinstance(line, Announcement)]
    assert len(numbers) == 2
    assert numbers == sorted(set(numbers), key=lambda number: number or 0)


def test_a_post_that_fails_is_tried_again_until_it_is_said() -> None:
    async def an_outage(scene: Scene) -> None:
        scene.post.failing = True
        scene.move_to("192.0.2.1")
        await asyncio.sleep(2.5)
        scene.post.failing = False

    # The first retry fails, too; the second one comes twice as late.
    assert play(an_outage, 100).announced() == [
        (round(DEBOUNCE + 3 * FIRST_RETRY, 3), "192.0.2.1:20000")
    ]


def test_the_goodbye_is_a_leave_with_a_higher_number() -> None:
    async def leave(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(1)
        await scene.announcer.say_goodbye()

    first, last = [decode(line) for _, line in play(leave, 10).post.lines]
    assert isinstance(first, Announcement)
    assert isinstance(last, Leave)
    assert (first.seq or 0) < (last.seq or 0)


def test_the_younger_of_two_agents_as_one_device_says_no_goodbye_for_both() -> None:
    async def leave(scene: Scene) -> None:
        directory = scene.announcer._directory
        directory.own_run = 200
        directory.note_own_post(1)
        for id_, run in ((1, 200), (2, 100)):
            said = Announcement(KEY.public_key, None, int(EPOCH * 1000) + id_, run=run)
            directory.handle_messages([ChatMessage(id_, ALICE, EPOCH, encode(said))])
        await scene.announcer.say_goodbye()

    assert play(leave, 10).post.lines == []


def test_a_goodbye_that_cannot_be_said_holds_nobody_up() -> None:
    async def scenario() -> float:
        scene = Scene()
        scene.post.hanging = True
        await scene.announcer.say_goodbye()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == LEAVE_PATIENCE


def test_a_post_that_is_refused_waits_for_as_long_as_keybase_says() -> None:
    async def a_refusal(scene: Scene) -> None:
        scene.post.refusing = 20.0
        scene.move_to("192.0.2.1")
        await asyncio.sleep(10)
        scene.post.refusing = 0.0

    scene = play(a_refusal, 100)

    assert [at for at, _ in scene.announced()] == [DEBOUNCE + 20]
    assert [trouble is None for trouble in scene.troubles] == [False, True]


@pytest.mark.parametrize(
    "message",
    [ChatMessage(9, ALICE, EPOCH, None, edits=1), ChatMessage(9, None, EPOCH, None, deletes=(1,))],
)
def test_an_announcement_that_somebody_withdraws_is_made_again_at_once(
    message: ChatMessage,
) -> None:
    async def withdrawn(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(30)
        scene.announcer.handle_messages([message])
        scene.announcer.handle_messages([message])  # of no line that is in force

    assert [at for at, _ in play(withdrawn, 100).announced()] == [DEBOUNCE, 30 + DEBOUNCE]


def test_when_the_history_is_deleted_everybody_says_it_again_but_not_all_at_once() -> None:
    async def deleted(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(30)
        scene.announcer.handle_messages([ChatMessage(9, None, EPOCH, None, vanished=2)])

    first, again = [at for at, _ in play(deleted, 200).announced()]

    assert first == DEBOUNCE
    assert 30 < again <= 30 + SPREAD


def test_history_that_ends_before_our_line_is_no_matter() -> None:
    async def deleted(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(30)
        scene.announcer.handle_messages([ChatMessage(9, None, EPOCH, None, vanished=1)])

    assert len(play(deleted, 200).announced()) == 1


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_a_wrong_clock_is_told_and_numbers_follow_keybases(ahead: float) -> None:
    async def come_back(scene: Scene) -> None:
        scene.fast = ahead
        scene.move_to("192.0.2.1")
        await asyncio.sleep(1)
        [(at, line)] = scene.post.lines
        scene.announcer.handle_messages([ChatMessage(1, ALICE, EPOCH + at, line)])

    scene = play(come_back, 100)

    first, second = [decode(line) for _, line in scene.post.lines]
    assert scene.told_ahead == [pytest.approx(ahead, abs=0.01)]
    assert isinstance(first, Announcement)
    assert isinstance(second, Announcement)
    assert first.seq == pytest.approx((EPOCH + ahead) * 1000, abs=100)
    assert second.seq == pytest.approx((EPOCH + 1) * 1000, abs=100)


def test_a_clock_that_is_nearly_right_is_not_spoken_of() -> None:
    async def come_back(scene: Scene) -> None:
        scene.fast = 59.0
        scene.move_to("192.0.2.1")
        await asyncio.sleep(1)
        [(at, line)] = scene.post.lines
        scene.announcer.handle_messages([ChatMessage(1, ALICE, EPOCH + at, line)])

    scene = play(come_back, 100)

    assert scene.told_ahead == []
    assert len(scene.post.lines) == 1


PHONE = NodeId("alice", "f" * 32, "phone")


@pytest.mark.parametrize("first", ["the push", "the reply"])
def test_who_finds_itself_logged_in_as_another_device_ends(first: str) -> None:
    async def scenario() -> None:
        scene = Scene()
        message = ChatMessage(1, PHONE, EPOCH, "ANNOUNCE …")
        if first == "the push":
            scene.announcer.handle_messages([message])
        async with asyncio.TaskGroup() as group:
            group.create_task(scene.announcer.run())
            scene.move_to("192.0.2.1")
            await asyncio.sleep(1)
            scene.announcer.handle_messages([message])

    with (
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
        pytest.raises(ExceptionGroup) as ended,
    ):
        runner.run(scenario())
    assert isinstance(ended.value.exceptions[0], IdentityChangedError)


def test_who_only_repeats_our_words_changes_nothing() -> None:
    async def echo(scene: Scene) -> None:
        scene.move_to("192.0.2.1")
        await asyncio.sleep(1)
        [(_, line)] = scene.post.lines
        scene.announcer.handle_messages([ChatMessage(2, PHONE, EPOCH, line)])

    assert len(play(echo, 2 * INTERVAL).announced()) == 2
