"""When and what the announcer posts, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from random import Random

from nat.gathering import HostAddress
from nat.machine import Endpoint
from nat.traversal import Traversal
from sidecar.agent.announcer import LEAVE_PATIENCE, Announcer
from sidecar.agent.schedule import DEBOUNCE, FIRST_RETRY
from sidecar.announcement import Announcement, Leave, decode
from sidecar.directory import Directory
from sidecar.errors import KeybaseError
from sidecar.identity import NodeId, PrivateKey
from sidecar.keybase.models import Membership, TeamRole
from sidecar.mesh.mesh import Mesh

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

    async def __call__(self, line: str) -> int:
        if self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            raise KeybaseError("the service is gone")
        self.lines.append((round(asyncio.get_running_loop().time(), 3), line))
        return len(self.lines)


class Scene:
    """An announcer, the mesh that it asks, and the channel."""

    def __init__(self) -> None:
        self.post = Post()
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
            on_posted=lambda line, id_: self.mesh.posted(line, id_, loop.time()),
            interval=INTERVAL,
            wall=lambda: EPOCH + loop.time(),
        )

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


def play(play: Callable[[Scene], Awaitable[None]], seconds: float) -> Scene:
    """Run the announcer for so long, beside what the test does."""

    async def scenario() -> Scene:
        scene = Scene()
        task = asyncio.create_task(scene.announcer.run())
        await play(scene)
        await asyncio.sleep(seconds - asyncio.get_running_loop().time())
        task.cancel()
        return scene

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


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


def test_a_goodbye_that_cannot_be_said_holds_nobody_up() -> None:
    async def scenario() -> float:
        scene = Scene()
        scene.post.hanging = True
        await scene.announcer.say_goodbye()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(scenario()) == LEAVE_PATIENCE
