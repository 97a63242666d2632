"""The route keeper on a table in memory, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network

from nat.io.ways import Ways
from nat.machine import IPAddress
from sidecar.agent.route_keeper import COMPARE_INTERVAL, REFUSED_RETRY, RouteKeeper
from sidecar.errors import BackendError
from sidecar.wireguard.routes import Flow, HostRoute, PutRoute, RouteChange

from ...support.virtual_time import VirtualTimeLoop

FIRST, SECOND = ip_address("10.1.0.1"), ip_address("10.2.0.1")
FAR, OTHER = ip_address("203.0.113.5"), ip_address("203.0.113.6")
UPLINKS = {FIRST: 2, SECOND: 3}


class FakeTable:
    """The kernel's side: the usual lookup takes the first uplink."""

    def __init__(self) -> None:
        self.routes: dict[IPAddress, HostRoute] = {}
        self.resolved: list[list[tuple[Flow, int]]] = []
        self.refuses = False
        self.strict: list[tuple[str, str]] = []

    async def read(self) -> Sequence[HostRoute]:
        return tuple(self.routes.values())

    async def resolve(
        self, flows: Sequence[tuple[Flow, int]]
    ) -> Mapping[IPAddress, HostRoute | None]:
        self.resolved.append(list(flows))
        return {
            flow.remote: None
            if flow.source == FIRST
            else HostRoute(flow.remote, flow.source, interface, ip_address("10.2.0.254"))
            for flow, interface in flows
        }

    async def apply(self, changes: Sequence[RouteChange]) -> None:
        if self.refuses:
            raise BackendError("not permitted")
        for change in changes:
            if isinstance(change, PutRoute):
                self.routes[change.route.remote] = change.route
            else:
                del self.routes[change.route.remote]

    async def filtered(self, uplinks: Mapping[IPAddress, int]) -> Sequence[tuple[str, str]]:
        return self.strict


class Scene:
    def __init__(self) -> None:
        self.table = FakeTable()
        self.flows: list[Flow] = []
        self.failures: list[str | None] = []
        self.filtered: list[Sequence[tuple[str, str]]] = []
        self.keeper = RouteKeeper(
            self.table,
            flows=lambda: self.flows,
            on_failure=self.failures.append,
            on_filtered=self.filtered.append,
        )
        self.keeper.set_ways(Ways(UPLINKS))

    async def settle(self, *flows: Flow, endpoints: frozenset[IPAddress] = frozenset()) -> None:
        """One round of the device keeper: flows change, routes, endpoints, a look."""
        self.flows = list(flows)
        self.keeper.changed()
        self.keeper.observe(endpoints)
        await self.keeper.settle()


def play(act: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def scenario() -> Scene:
        scene = Scene()
        await act(scene)
        return scene

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


def test_a_path_by_the_second_uplink_gets_its_route_before_the_endpoint() -> None:
    async def act(scene: Scene) -> None:
        await scene.settle(Flow(SECOND, FAR))

    scene = play(act)

    assert scene.table.resolved == [[(Flow(SECOND, FAR), 3)]]
    assert scene.table.routes[FAR].source == SECOND
    assert scene.failures == [None]


def test_a_neighbour_behind_a_bridge_of_this_host_is_not_sent_for_by_an_uplink() -> None:
    async def act(scene: Scene) -> None:
        bridge = frozenset({ip_network("203.0.113.4/31")})
        scene.keeper.set_ways(Ways(UPLINKS, bridge))
        await scene.settle(Flow(SECOND, FAR), Flow(SECOND, OTHER))

    assert play(act).table.resolved == [[(Flow(SECOND, FAR), 0), (Flow(SECOND, OTHER), 3)]]


def test_a_host_with_one_uplink_asks_the_kernel_for_nothing() -> None:
    async def act(scene: Scene) -> None:
        scene.keeper.set_ways(Ways({FIRST: 2}))
        await scene.settle()
        await scene.settle(Flow(FIRST, FAR))
        await scene.settle(Flow(FIRST, OTHER))

    assert play(act).table.resolved == []


def test_the_old_route_goes_once_wireguard_sends_elsewhere() -> None:
    async def act(scene: Scene) -> None:
        await scene.settle(Flow(SECOND, FAR), endpoints=frozenset({FAR}))
        await scene.settle(Flow(SECOND, OTHER), endpoints=frozenset({FAR}))
        assert set(scene.table.routes) == {FAR, OTHER}
        scene.keeper.observe(frozenset({OTHER}))
        await scene.keeper.settle()

    assert set(play(act).table.routes) == {OTHER}


def test_a_route_that_somebody_removed_is_put_again_within_half_a_minute() -> None:
    async def act(scene: Scene) -> None:
        await scene.settle(Flow(SECOND, FAR))
        scene.table.routes.clear()
        await scene.keeper.settle()
        assert scene.table.routes == {}
        await asyncio.sleep(COMPARE_INTERVAL)
        await scene.keeper.settle()

    assert set(play(act).table.routes) == {FAR}


def test_a_refusal_is_told_and_so_is_its_end() -> None:
    async def act(scene: Scene) -> None:
        scene.table.refuses = True
        await scene.settle(Flow(SECOND, FAR))
        scene.table.refuses = False
        await scene.settle(Flow(SECOND, FAR))

    scene = play(act)

    assert scene.failures == ["not permitted", None]
    assert set(scene.table.routes) == {FAR}


def test_what_was_refused_is_tried_again_though_nothing_changes() -> None:
    async def act(scene: Scene) -> None:
        scene.table.refuses = True
        await scene.settle(Flow(SECOND, FAR))
        scene.table.refuses = False
        for pause in (REFUSED_RETRY - 0.1, 0.2):
            await asyncio.sleep(pause)
            await scene.keeper.settle()
        assert set(scene.table.routes) == {FAR}

        scene.table.routes.clear()
        await asyncio.sleep(REFUSED_RETRY)
        await scene.keeper.settle()

    scene = play(act)

    assert scene.failures == ["not permitted", None]
    assert scene.table.routes == {}, "what stands is compared as rarely as ever"


def test_an_uplink_that_drops_what_comes_in_is_told_where_there_are_two() -> None:
    async def act(scene: Scene) -> None:
        scene.table.strict = [("eth1", "set rp_filter")]
        await scene.settle()
        scene.keeper.set_ways(Ways({FIRST: 2}))
        await scene.settle()

    assert play(act).filtered == [[("eth1", "set rp_filter")], ()]


def test_a_route_left_from_before_a_restart_stays_until_its_path_is_known() -> None:
    async def act(scene: Scene) -> None:
        left = HostRoute(FAR, SECOND, 3, ip_address("10.2.0.254"))
        scene.table.routes[FAR] = left
        await scene.keeper.settle()
        await scene.settle(endpoints=frozenset({FAR}))
        assert scene.table.routes == {FAR: left}
        await scene.settle(Flow(FIRST, FAR), endpoints=frozenset({FAR}))

    assert play(act).table.routes == {}
