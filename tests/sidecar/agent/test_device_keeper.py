"""The device keeper on the fake back end, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from nat.io.ways import Ways
from nat.machine import Endpoint, IPAddress
from sidecar.agent.device_keeper import (
    BUSY_INTERVAL,
    CROWD,
    POLL_INTERVAL,
    RECONCILE_INTERVAL,
    RETRY,
    DeviceKeeper,
)
from sidecar.agent.route_keeper import RouteKeeper
from sidecar.errors import BackendError
from sidecar.identity import PrivateKey, PublicKey
from sidecar.wireguard.changes import Change, RemovePeer, UpdatePeer
from sidecar.wireguard.device import DeviceConfig, PeerConfig, PeerState
from sidecar.wireguard.routes import Flow, HostRoute, RouteChange

from ...support.fake_backend import FakeBackend
from ...support.virtual_time import VirtualTimeLoop

KEY = PrivateKey(bytes([7]) * 32).clamped()
PEER = PrivateKey(bytes([8]) * 32).clamped().public_key
FAR = Endpoint(IPv4Address("203.0.113.5"), 4000)
WANTED = DeviceConfig(
    interface="kbwg0",
    alias="kbwg acme alice/a",
    private_key=KEY,
    listen_port=20000,
    fwmark=7,
    mtu=1420,
    addresses=frozenset({IPv4Interface("100.64.7.1/24")}),
    peers={PEER: PeerConfig(PEER, frozenset({IPv4Network("100.64.7.2/32")}))},
)


class Recorder(FakeBackend):
    """Counts, and fails on command."""

    def __init__(self) -> None:
        super().__init__()
        self.applied: list[tuple[float, Sequence[Change]]] = []
        self.failing = False

    async def apply(self, changes: Sequence[Change]) -> None:
        if self.failing:
            raise BackendError("refused")
        self.applied.append((asyncio.get_running_loop().time(), tuple(changes)))
        await super().apply(changes)


class Table:
    """Notes when routes are settled, among the changes of the device."""

    def __init__(self, device: Recorder) -> None:
        self._device = device

    async def read(self) -> Sequence[HostRoute]:
        return ()

    async def resolve(
        self, flows: Sequence[tuple[Flow, int]]
    ) -> Mapping[IPAddress, HostRoute | None]:
        self._device.applied.append((asyncio.get_running_loop().time(), ()))
        return {}

    async def apply(self, changes: Sequence[RouteChange]) -> None:
        raise AssertionError("nothing to change")

    async def filtered(self, uplinks: Mapping[IPAddress, int]) -> Sequence[tuple[str, str]]:
        return ()


class Scene:
    """A keeper and all that it says."""

    def __init__(self) -> None:
        self.backend = Recorder()
        self.wanted: DeviceConfig | None = WANTED
        self.busy = False
        self.table = Table(self.backend)
        self.flows: list[Flow] = []
        self.observed: list[tuple[float, Mapping[PublicKey, PeerState]]] = []
        self.failures: list[str | None] = []
        self.guarded: list[int] = []
        self.unguardable = False
        self.guard_seconds = 0.0
        self.routes = RouteKeeper(
            self.table,
            flows=lambda: self.flows,
            on_failure=self.failures.append,
            on_filtered=lambda _: None,
        )
        self.keeper = DeviceKeeper(
            self.backend,
            routes=self.routes,
            wanted=lambda: self.wanted,
            guard=self.guard,
            busy=lambda: self.busy,
            on_observed=lambda peers: self.observed.append(
                (asyncio.get_running_loop().time(), peers)
            ),
            on_failure=self.failures.append,
        )

    async def guard(self, _: DeviceConfig) -> None:
        if self.unguardable:
            raise BackendError("the packet filter was refused")
        await asyncio.sleep(self.guard_seconds)
        self.guarded.append(len(self.backend.applied))


def play(act: Callable[[Scene], Awaitable[None]], seconds: float) -> Scene:
    """Run a keeper for so long, beside what the test does."""

    async def scenario() -> Scene:
        scene = Scene()
        await scene.backend.create(WANTED.alias)
        task = asyncio.create_task(scene.keeper.run())
        await act(scene)
        await asyncio.sleep(seconds - asyncio.get_running_loop().time())
        task.cancel()
        return scene

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


async def nothing(_: Scene) -> None:
    """Leave the keeper alone."""


def test_makes_the_device_as_it_is_wanted_and_touches_it_no_more() -> None:
    scene = play(nothing, 10 * RECONCILE_INTERVAL)

    assert len(scene.backend.applied) == 1
    assert set(scene.backend.state.peers if scene.backend.state else ()) == {PEER}


def test_mends_what_somebody_else_has_changed() -> None:
    async def interfere(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        await FakeBackend.apply(scene.backend, [RemovePeer(PEER)])

    scene = play(interfere, RECONCILE_INTERVAL + 1)

    assert [at for at, _ in scene.backend.applied] == [0.0, RECONCILE_INTERVAL]


def test_makes_an_interface_that_vanished_again() -> None:
    async def interfere(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.backend.state = None

    scene = play(interfere, RECONCILE_INTERVAL + 5)

    assert scene.backend.state is not None
    assert set(scene.backend.state.peers) == {PEER}


def test_touches_nothing_while_nothing_is_wanted() -> None:
    async def unknown(scene: Scene) -> None:
        scene.wanted = None

    assert play(unknown, 100).backend.applied == []


def test_an_endpoint_is_set_after_the_peer_that_it_belongs_to() -> None:
    async def select(scene: Scene) -> None:
        scene.wanted = replace(WANTED, peers={})
        await asyncio.sleep(0.5)
        scene.wanted = WANTED
        scene.keeper.update([UpdatePeer(PEER, FAR, 25)])
        scene.keeper.reconcile()

    scene = play(select, 0.6)

    assert scene.backend.state is not None
    assert scene.backend.state.peers[PEER].endpoint == FAR


def test_an_endpoint_is_set_after_the_route_that_leads_to_it() -> None:
    async def move(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.flows.append(Flow(IPv4Address("10.2.0.1"), FAR.ip))
        scene.routes.set_ways(Ways({IPv4Address("10.1.0.1"): 2, IPv4Address("10.2.0.1"): 3}))
        scene.keeper.update([UpdatePeer(PEER, FAR, 25)])

    scene = play(move, 0.6)

    assert scene.backend.applied[1:] == [(0.5, ()), (0.5, (UpdatePeer(PEER, FAR, 25),))]


def test_an_endpoint_of_a_peer_that_is_there_waits_for_no_comparison() -> None:
    async def move(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.guard_seconds = 0.4
        scene.wanted = replace(WANTED, addresses=frozenset())
        scene.keeper.reconcile()
        scene.keeper.update([UpdatePeer(PEER, FAR, 25)])

    scene = play(move, 1.0)

    assert scene.backend.applied[1] == (0.5, (UpdatePeer(PEER, FAR, 25),))


def test_an_endpoint_of_a_peer_whose_interface_vanished_is_set_once_that_is_mended() -> None:
    async def vanish(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.backend.state = None
        scene.keeper.update([UpdatePeer(PEER, FAR, 25)])

    scene = play(vanish, 0.5 + RETRY)

    assert scene.backend.state is not None
    assert scene.backend.state.peers[PEER].endpoint == FAR


def test_an_endpoint_that_is_refused_is_set_when_the_device_works_again() -> None:
    async def fail(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.backend.failing = True
        scene.keeper.update([UpdatePeer(PEER, FAR, 25)])
        await asyncio.sleep(0.1)
        scene.backend.failing = False

    scene = play(fail, 0.5 + RETRY + 0.1)

    refused = [text for text in scene.failures if text is not None]
    assert set(refused) == {"refused"}
    assert scene.failures[-1] is None
    assert scene.backend.state is not None
    assert scene.backend.state.peers[PEER].endpoint == FAR


def test_looks_twice_a_second_and_closely_while_a_handshake_is_expected() -> None:
    async def expect(scene: Scene) -> None:
        await asyncio.sleep(1.2)
        scene.busy = True
        scene.keeper.look()
        await asyncio.sleep(0.22)
        scene.busy = False

    times = [round(at, 3) for at, _ in play(expect, 2.0).observed]

    close = [round(1.2 + n * BUSY_INTERVAL, 3) for n in range(6)]
    last = round(close[-1] + POLL_INTERVAL, 3)
    assert times == [0.0, POLL_INTERVAL, 2 * POLL_INTERVAL, *close, last]


def test_looks_at_a_crowd_are_half_as_often() -> None:
    async def crowd(scene: Scene) -> None:
        keys = [PrivateKey(bytes([n]) * 32).clamped().public_key for n in range(1, CROWD + 9)]
        scene.wanted = replace(WANTED, peers={k: PeerConfig(k, frozenset()) for k in keys})

    times = [at for at, _ in play(crowd, 4.5 * POLL_INTERVAL).observed]

    assert times == [0.0, 2 * POLL_INTERVAL, 4 * POLL_INTERVAL]


def test_the_packet_filter_stands_before_anything_is_changed_and_is_looked_after() -> None:
    scene = play(nothing, 2 * RECONCILE_INTERVAL + 1)

    assert scene.guarded == [0, 1, 1]


def test_a_new_peer_waits_for_no_look_at_the_packet_filter() -> None:
    other = PrivateKey(bytes([9]) * 32).clamped().public_key

    async def meet(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.guard_seconds = 0.4
        scene.wanted = replace(
            WANTED, peers={**WANTED.peers, other: PeerConfig(other, frozenset())}
        )
        scene.keeper.reconcile()

    scene = play(meet, 1.0)

    assert [at for at, _ in scene.backend.applied] == [0.0, 0.5]
    assert scene.guarded == [0]


def test_the_packet_filter_is_that_of_other_addresses_before_the_device_has_them() -> None:
    async def move(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.wanted = replace(WANTED, addresses=frozenset())
        scene.keeper.reconcile()

    assert play(move, 1.0).guarded == [0, 1]


def test_the_packet_filter_is_made_again_with_an_interface_that_vanished() -> None:
    async def vanish(scene: Scene) -> None:
        await asyncio.sleep(0.5)
        scene.backend.state = None
        scene.keeper.reconcile()

    assert play(vanish, 1.0).guarded == [0, 1]


def test_without_a_packet_filter_no_peer_gets_in() -> None:
    async def refuse(scene: Scene) -> None:
        scene.unguardable = True
        await asyncio.sleep(10 * RETRY)

    scene = play(refuse, 10 * RETRY)

    assert scene.backend.applied == []
    assert set(scene.failures) == {"the packet filter was refused"}
