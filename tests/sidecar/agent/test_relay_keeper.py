"""The relay keeper with real sockets on loopback, and a TURN server that the test plays."""

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from random import Random

from nat.io.driver import Driver
from nat.io.relay import RelaySettings
from nat.machine import Datagram, Endpoint
from nat.path.events import TraversalEvent
from nat.traversal import Traversal
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
    TurnServerChanged,
)
from nat.turn.framing import ChannelData
from nat.turn.server import StaticCredentials, TurnServer, TurnTransport
from sidecar.agent.relay_keeper import RelayKeeper

from ...support.relay import channel_data, port_of, receive, receive_from, udp_socket, until
from ...support.turn_server import LOGIN, SimTurnServer

CHANNEL = 0x4000
RELAYED = Endpoint(ip_address("203.0.113.50"), 50000)
REMOTE = Endpoint(ip_address("198.51.100.2"), 42000)
OTHER = Endpoint(ip_address("198.51.100.3"), 42000)

SHORT = 0.2
"""Seconds that a hand-over takes here, and until another try for a socket."""

RELAY_EVENTS = (
    ConnectionRequested
    | ConnectionReleased
    | ReconnectRequested
    | RelayChannelBound
    | RelayChannelLost
    | TurnServerChanged
)


class Scene:
    """A traversal with a keeper, the socket of its WireGuard, and a server's."""

    def __init__(self, wireguard: socket.socket, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.wireguard, self.listening = wireguard, listening
        self.server = SimTurnServer()
        self.clients: list[tuple[str, int]] = []
        """Everybody who has sent something, in order."""
        self.data: list[bytes] = []
        """ChannelData that came in."""
        self.name = TurnServer(
            "127.0.0.1",
            port_of(listening),
            TurnTransport.UDP,
            StaticCredentials(LOGIN.username, LOGIN.password),
        )
        self.traversal = Traversal(rng=Random(1), now=loop.time())
        self.keeper = RelayKeeper(
            self.traversal,
            RelaySettings(port_of(wireguard)),
            rng=Random(2),
            on_change=lambda: self.driver.mutate(lambda now: None),
            hand_over=SHORT,
            plug_retry=SHORT,
        )
        self.driver = Driver[TraversalEvent](
            self.traversal, send=_nowhere, on_event=self._on_event, flush=self.keeper.flush
        )
        self.keeper.set_servers((self.name,))
        loop.add_reader(listening.fileno(), self._on_readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.listening.fileno())
        self.driver.close()

    def plug(self, remote: Endpoint = REMOTE, channel: int = CHANNEL) -> Endpoint:
        """Have a channel plugged in; returns where WireGuard finds it."""
        known = self.keeper.plugs
        self.keeper.handle_event(RelayChannelBound(self.name, RELAYED, remote, channel))
        (endpoint,) = self.keeper.plugs - known
        return endpoint

    def send(self, payload: bytes, channel: int = CHANNEL) -> None:
        """Let the server send data on a channel."""
        self.listening.sendto(channel_data(channel, payload), self.clients[-1])

    def _on_event(self, event: TraversalEvent) -> None:
        if isinstance(event, RELAY_EVENTS):
            self.keeper.handle_event(event)

    def _on_readable(self) -> None:
        frame, client = self.listening.recvfrom(1 << 16)
        if client not in self.clients:
            self.clients.append(client)
        if frame[0] >> 6 == 1:
            self.data.append(frame)
            return
        self.server.receive(client, frame, asyncio.get_running_loop().time())
        for to, answer in self.server.frames_to_send():
            assert isinstance(to, tuple)
            self.listening.sendto(answer, to)


def _nowhere(_: Datagram) -> None:
    """Nothing but the relay is of interest."""


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    """Let a keeper have its allocation, then do what the test does."""

    async def scenario() -> None:
        with udp_socket() as wireguard, udp_socket() as listening:
            scene = Scene(wireguard, listening)
            task = asyncio.create_task(scene.keeper.run())
            await until(lambda: any(one.relayed for one in scene.traversal.turn_servers))
            await act(scene)
            task.cancel()
            await asyncio.wait([task])
            scene.close()

    asyncio.run(scenario())


def test_a_server_that_is_named_is_connected_to_and_relays() -> None:
    async def act(scene: Scene) -> None:
        assert scene.traversal.turn_servers[0].relayed == scene.server.relayed
        assert len(scene.clients) == 1
        assert scene.keeper.counters["connected"] == 1

    play(act)


def test_a_plugged_channel_carries_data_both_ways() -> None:
    async def act(scene: Scene) -> None:
        endpoint = scene.plug()

        scene.wireguard.sendto(b"out", (str(endpoint.ip), endpoint.port))
        await until(lambda: bool(scene.data))
        assert scene.data == [ChannelData(CHANNEL, b"out").encode(padded=False)]

        scene.send(b"in")
        assert await receive_from(scene.wireguard, 1) == [(b"in", endpoint.port)]

    play(act)


def test_a_channel_that_is_lost_is_unplugged_and_others_are_not() -> None:
    async def act(scene: Scene) -> None:
        lost, kept = scene.plug(), scene.plug(OTHER, CHANNEL + 1)

        scene.keeper.handle_event(RelayChannelLost(scene.name, RELAYED, REMOTE))

        assert scene.keeper.plugs == {kept}
        assert lost != kept
        scene.send(b"for nobody")
        scene.send(b"in", CHANNEL + 1)
        assert await receive(scene.wireguard, 1) == [b"in"]
        assert scene.keeper.counters["received-dropped-unplugged"] == 1

    play(act)


def test_a_channel_for_which_there_was_no_socket_is_plugged_in_once_there_is() -> None:
    async def act(scene: Scene) -> None:
        kept, lost = (REMOTE, CHANNEL), (OTHER, CHANNEL + 1)
        with no_descriptors():
            for remote, channel in (kept, lost):
                scene.keeper.handle_event(RelayChannelBound(scene.name, RELAYED, remote, channel))
            assert scene.keeper.plugs == frozenset()

        scene.keeper.handle_event(RelayChannelLost(scene.name, RELAYED, lost[0]))
        await until(lambda: bool(scene.keeper.plugs))
        await asyncio.sleep(SHORT)

        (endpoint,) = scene.keeper.plugs
        scene.send(b"in")
        assert await receive_from(scene.wireguard, 1) == [(b"in", endpoint.port)]

    play(act)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process have no more files than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_data_that_comes_late_is_delivered_and_told_of_until_the_relay_is_taken_again() -> None:
    async def act(scene: Scene) -> None:
        endpoint = scene.plug()
        late: list[str] = []

        scene.keeper.hand_over(endpoint, lambda: late.append("late"))
        scene.send(b"late")
        assert await receive(scene.wireguard, 1) == [b"late"]
        assert late == ["late"]

        scene.keeper.resume(endpoint)
        scene.send(b"in time")
        assert await receive(scene.wireguard, 1) == [b"in time"]
        assert late == ["late"]

    play(act)


def test_a_second_hand_over_is_not_ended_by_the_timer_of_the_first() -> None:
    async def act(scene: Scene) -> None:
        endpoint = scene.plug()
        late: list[int] = []
        scene.keeper.hand_over(endpoint, lambda: late.append(1))
        await asyncio.sleep(0.6 * SHORT)
        scene.keeper.hand_over(endpoint, lambda: late.append(2))
        await asyncio.sleep(0.6 * SHORT)

        scene.send(b"late")
        assert await receive(scene.wireguard, 1) == [b"late"]
        assert late == [2]

        await asyncio.sleep(SHORT)
        scene.send(b"in time")
        assert await receive(scene.wireguard, 1) == [b"in time"]
        assert late == [2]

    play(act)


def test_a_connection_that_is_made_anew_has_another_port_and_no_channels() -> None:
    async def act(scene: Scene) -> None:
        scene.plug()

        scene.keeper.handle_event(ReconnectRequested(scene.name))
        await until(lambda: len(scene.clients) == 2)

        assert scene.keeper.plugs == frozenset()
        await until(lambda: len(scene.server.allocations) == 2)
        assert scene.keeper.counters["connected"] == 2

    play(act)


def test_a_server_that_is_not_named_any_more_is_told_and_its_counters_stay() -> None:
    async def act(scene: Scene) -> None:
        scene.keeper.set_servers(())
        await until(lambda: scene.server.allocations == {})

        assert scene.keeper.plugs == frozenset()
        assert scene.keeper.counters["connected"] == 1

    play(act)


def test_the_server_forgets_us_when_we_say_goodbye() -> None:
    async def act(scene: Scene) -> None:
        scene.keeper.say_goodbye()
        await until(lambda: scene.server.allocations == {})

    play(act)


def test_nothing_is_made_anew_where_the_network_is_the_same() -> None:
    async def act(scene: Scene) -> None:
        endpoint = scene.plug()

        scene.keeper.network_changed()
        await asyncio.sleep(0)

        scene.send(b"in")
        assert await receive_from(scene.wireguard, 1) == [(b"in", endpoint.port)]
        assert len(scene.clients) == 1

    play(act)
