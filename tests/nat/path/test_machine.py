"""The path machines as a black box: whatever happens, the expected route is found again.

Hypothesis moves two agents through NATs, roaming, loss, partitions, late announcements, dead
agents and time; whenever the network has been left alone for a while, both sides hold the route
that the two NATs allow.
"""

from collections.abc import Callable
from ipaddress import ip_address

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nat.gathering import HostAddress
from nat.machine import Datagram
from nat.path.events import Activity, PathLost, PathReasserted, PathSelected
from tests.support.nat import Filtering, Mapping, Nat
from tests.support.network import endpoint
from tests.support.peers import Node, Peers, expected_kind
from tests.support.traffic import send_data

MAPPINGS = st.sampled_from(list(Mapping))
FILTERINGS = st.sampled_from(list(Filtering))

CALM = 70.0
"""Seconds after which everything must be settled: two pauses of a hunt, and what follows."""


class PathMachine(RuleBasedStateMachine):
    """A and B behind NATs of any kind."""

    traffic = False

    def __init__(self) -> None:
        super().__init__()
        self.peers: Peers
        self.lifts: list[Callable[[], None]] = []
        self.moves = 0

    @initialize(
        mapping_a=MAPPINGS,
        filtering_a=FILTERINGS,
        mapping_b=MAPPINGS,
        filtering_b=FILTERINGS,
        seed=st.integers(0, 2**32),
    )
    def start(
        self,
        mapping_a: Mapping,
        filtering_a: Filtering,
        mapping_b: Mapping,
        filtering_b: Filtering,
        seed: int,
    ) -> None:
        nats = [
            Nat("198.51.100.1", mapping_a, filtering_a),
            Nat("198.51.100.2", mapping_b, filtering_b),
        ]
        self.peers = Peers(*nats, seed=seed, data=True)
        self.peers.meet()
        self.peers.run(until=2.0)
        if self.traffic:
            send_data(self.peers, 1.0, 2.0)

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.peers.a, self.peers.b

    def run(self, seconds: float) -> None:
        self.peers.run(until=self.peers.network.now + seconds)

    def announce(self) -> None:
        """Both see each other's present announcement, as chat would have it sooner or later."""
        self.peers.introduce(self.peers.a, self.peers.b)
        self.peers.introduce(self.peers.b, self.peers.a)

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0, 45.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.run(seconds)

    @rule()
    def announce_again(self) -> None:
        self.announce()

    @rule(loss=st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    def change_loss(self, loss: float) -> None:
        self.peers.network.loss = loss

    @precondition(lambda self: len(self.lifts) < 2)
    @rule(which=st.integers(0, 1), outbound=st.booleans())
    def cut_one_direction(self, which: int, outbound: bool) -> None:
        node = self.nodes[which]
        nat = node.host.nat
        inside = {address.ip for address in node.host.addresses}

        def cut(datagram: Datagram) -> bool:
            end = datagram.source if outbound else datagram.destination
            return end.ip in inside or (nat is not None and nat.public_ip == end.ip)

        self.lifts.append(self.peers.network.block(cut))

    @rule(which=st.integers(0, 1))
    def rebind_the_nat(self, which: int) -> None:
        nat = self.nodes[which].host.nat
        if nat is not None and nat.translates:
            self.moves += 1
            nat.rebind(ip_address(f"198.51.101.{self.moves % 200 + 1}"))

    @rule(which=st.integers(0, 1), told=st.booleans())
    def roam(self, which: int, told: bool) -> None:
        """Take another address on the same network; perhaps the agent hears of it much later."""
        node = self.nodes[which]
        self.moves += 1
        inside = node.host.nat is not None and node.host.nat.translates
        last = self.moves % 200 + 30
        at = endpoint(f"192.168.{which + 1}.{last}" if inside else f"192.0.2.{last}")
        node.host.addresses = (at,)
        node.wireguard.base = at
        if told:
            self.notice(which)

    @rule(which=st.integers(0, 1))
    def notice(self, which: int) -> None:
        """The interface watch does its work."""
        node, now = self.nodes[which], self.peers.network.now
        node.traversal.set_host_addresses(
            [HostAddress(at, "eth0") for at in node.host.addresses], now
        )

    @rule(which=st.integers(0, 1), alive=st.booleans())
    def stop_or_start_an_agent(self, which: int, alive: bool) -> None:
        self.nodes[which].sidecar.agent_alive = alive

    @rule(which=st.integers(0, 1), size=st.integers(0, 80), seed=st.integers(0, 255))
    def throw_rubbish(self, which: int, size: int, seed: int) -> None:
        node = self.nodes[which]
        for address in node.host.addresses:
            rubbish = bytes([seed % 4]) + bytes((seed * i) % 256 for i in range(size))
            node.traversal.receive_datagram(
                Datagram(endpoint("203.0.113.50"), address, rubbish), self.peers.network.now
            )

    @rule()
    def calm_down(self) -> None:
        """Lift everything, let the agents live and hear; then the route is the expected one."""
        for lift in self.lifts:
            lift()
        self.lifts.clear()
        self.peers.network.loss = 0.0
        for which, node in enumerate(self.nodes):
            node.sidecar.agent_alive = True
            self.notice(which)
        self.run(40.0)  # the STUN server is asked again within 30 s, and tells the new mapping
        self.announce()
        self.run(CALM)
        wanted = expected_kind(*(node.host.nat for node in self.nodes))
        path_a, path_b = self.peers.paths
        assert (path_a is None, path_b is None) == (wanted is None, wanted is None)
        if path_a is not None and path_b is not None:
            assert path_a.local.endpoint == path_b.remote.endpoint
            assert path_b.local.endpoint == path_a.remote.endpoint
            assert path_a.kind is path_b.kind is wanted
            for node in self.nodes:
                assert node.report(self.peers.network.now).activity is Activity.CONNECTED

    @invariant()
    def events_tell_the_state(self) -> None:
        """Who listens to the events alone knows the path."""
        if not hasattr(self, "peers"):
            return
        self.run(0.0)
        for node in self.nodes:
            told = None
            for event in node.host.events:
                match event:
                    case PathSelected(path=path, previous=previous):
                        assert previous == told
                        assert path != told
                        told = path
                    case PathLost(path=path):
                        assert path == told
                        told = None
                    case PathReasserted(path=path):
                        assert path == told
                    case _:
                        pass
            if node.sidecar.agent_alive:
                assert node.path(self.peers.network.now) == told


class BusyPathMachine(PathMachine):
    """The same, with traffic."""

    traffic = True


SLICE = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestIdlePaths, TestBusyPaths = PathMachine.TestCase, BusyPathMachine.TestCase
TestIdlePaths.settings = TestBusyPaths.settings = SLICE
