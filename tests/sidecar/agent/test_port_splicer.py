"""What a host does for port prediction: real ports on the loopback interface, a table in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from ipaddress import IPv4Address
from random import Random

from nat.machine import Datagram, Endpoint
from nat.path.events import PeerId
from nat.prediction.events import PortsDone, PortsWanted, PortWon, SpliceReleased
from nat.prediction.predictor import Predictor
from nat.prediction.splice import Splice
from sidecar.agent.port_splicer import MEND_INTERVAL, PortSplicer
from sidecar.errors import NftError
from sidecar.splice_table import SpliceTable
from tests.support.virtual_time import VirtualTimeLoop

LOCAL = IPv4Address("127.0.0.1")
BASE = Endpoint(LOCAL, 20000)
REMOTE = Endpoint(IPv4Address("127.0.0.2"), 42000)
PEER = PeerId("b")


class Table(SpliceTable):
    """The kernel's rules as a set; `refusal` is what it says instead."""

    def __init__(self, *splices: Splice) -> None:
        super().__init__("kbwg0", BASE.port)
        self.in_force = set(splices)
        self.refusal = ""
        self.mended = 0

    def _answer(self) -> None:
        if self.refusal:
            raise NftError(self.refusal)

    def check(self) -> None:
        self._answer()

    def load(self) -> tuple[Splice, ...]:
        self._answer()
        return tuple(self.in_force)

    def add(self, splice: Splice) -> None:
        self._answer()
        self.in_force.add(splice)

    def remove(self, splice: Splice) -> None:
        self._answer()
        self.in_force.discard(splice)

    def clear(self) -> None:
        self._answer()
        self.in_force.clear()

    def mend(self) -> bool:
        self.mended += 1
        self._answer()
        return True


class Watched(Predictor):
    """A predictor that tells what it was told."""

    def __init__(self) -> None:
        super().__init__(rng=Random(1))
        self.able = False
        self.ports: tuple[int, ...] = ()
        self.adopted: tuple[Splice, ...] = ()
        self.failed: list[PeerId] = []

    def set_able(self, able: bool, now: float) -> None:
        self.able = able

    def ports_opened(self, peer: PeerId, ports: list[int], now: float) -> None:  # type: ignore[override]
        self.ports = tuple(ports)

    def adopt(self, splices: tuple[Splice, ...], now: float) -> None:  # type: ignore[override]
        self.adopted = splices

    def splice_failed(self, peer: PeerId) -> None:
        self.failed.append(peer)


class Scene:
    """A splicer with its table, and what it was told and has told."""

    def __init__(self, *splices: Splice) -> None:
        self.table = Table(*splices)
        self.predictor = Watched()
        self.spliced: list[Splice] = []
        self.splicer = PortSplicer(
            self.predictor,
            self.table,
            mark=0,
            on_datagram=lambda datagram: None,
            on_spliced=lambda won, now: self.spliced.append(won.splice),
        )

    def open(self) -> tuple[int, ...]:
        self.splicer.handle_event(PortsWanted(PEER, LOCAL, REMOTE, 4), 0.0)
        return self.predictor.ports

    def win(self, port: int) -> Splice:
        splice = Splice(BASE, port, REMOTE)
        self.splicer.handle_event(PortWon(PEER, splice, Datagram(REMOTE, BASE, b"")), 0.0)
        self.splicer.handle_event(PortsDone(PEER), 0.0)
        return splice

    def holds(self, port: int) -> bool:
        """Whether nobody else can have a port."""
        probe = Scene()
        with closing(probe.splicer):
            return not probe.splicer._fan.adopt(Endpoint(LOCAL, port))


def on_a_loop(scene: Scene, act: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        with closing(scene.splicer):
            await act()

    asyncio.run(run())


def test_the_port_that_wins_is_spliced_and_held_and_the_others_go() -> None:
    scene = Scene()

    async def act() -> None:
        first, *others = scene.open()
        splice = scene.win(first)
        assert scene.table.in_force == {splice}
        assert scene.spliced == [splice]
        assert scene.holds(first)
        assert not any(scene.holds(port) for port in others)

        scene.splicer.handle_event(SpliceReleased(splice), 0.0)
        assert not scene.table.in_force
        assert not scene.holds(first)

    on_a_loop(scene, act)


def test_a_kernel_that_refuses_leaves_no_port_held() -> None:
    scene = Scene()

    async def act() -> None:
        ports = scene.open()
        scene.table.refusal = "Operation not permitted"
        scene.win(ports[0])
        assert scene.predictor.failed == [PEER]
        assert scene.spliced == []
        assert not any(scene.holds(port) for port in ports)

    on_a_loop(scene, act)


def test_only_datagrams_of_opened_ports_leave_here() -> None:
    scene = Scene()

    async def act() -> None:
        port = scene.open()[0]
        assert scene.splicer.send(Datagram(Endpoint(LOCAL, port), REMOTE, b"opener"))
        assert not scene.splicer.send(Datagram(BASE, REMOTE, b"check"))
        assert scene.splicer.counters["sent"] == 1

    on_a_loop(scene, act)


def test_an_adopted_tunnel_keeps_its_splices_and_their_ports() -> None:
    scene = Scene(Splice(BASE, 40999, REMOTE))

    async def act() -> None:
        scene.splicer.start(adopt=True, now=0.0)
        assert scene.predictor.able
        assert scene.predictor.adopted == (Splice(BASE, 40999, REMOTE),)
        assert scene.holds(40999)

    on_a_loop(scene, act)


def test_a_new_tunnel_has_no_use_for_former_splices() -> None:
    scene = Scene(Splice(BASE, 40999, REMOTE))

    async def act() -> None:
        scene.splicer.start(adopt=False, now=0.0)
        assert scene.predictor.able
        assert scene.predictor.adopted == ()
        assert not scene.table.in_force

    on_a_loop(scene, act)


def test_without_nftables_nothing_is_ever_won_here() -> None:
    scene = Scene()
    scene.table.refusal = "libnftables.so.1 is not installed"

    async def act() -> None:
        scene.splicer.start(adopt=True, now=0.0)
        assert not scene.predictor.able

    on_a_loop(scene, act)


def test_the_rules_are_looked_after_whatever_the_kernel_says() -> None:
    scene = Scene()
    scene.table.refusal = "busy"

    async def act() -> None:
        try:
            async with asyncio.timeout(3.5 * MEND_INTERVAL):
                await scene.splicer.run()
        except TimeoutError:
            pass

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(act())
    assert scene.table.mended == 3
