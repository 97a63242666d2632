"""TURN in the simulated internet: servers as hosts, and the owner of the connections to them."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from nat.machine import Datagram, Endpoint
from nat.path.events import TraversalEvent
from nat.stun.message import is_stun
from nat.traversal import Traversal
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
)
from nat.turn.framing import ChannelData, is_channel_data, parse_channel_data
from nat.turn.server import StaticCredentials, TurnServer, TurnTransport

from .network import Host, SimNetwork, endpoint
from .turn_server import LOGIN, SimTurnServer

HANDSHAKES = {TurnTransport.UDP: 0, TurnTransport.TCP: 1, TurnTransport.TLS: 3}
"""Round trips until a connection stands."""

FIRST_PLUG_PORT = 40001
FIRST_LOCAL_PORT = 61001


def turn_server(host: str, transport: TurnTransport = TurnTransport.UDP) -> TurnServer:
    """Name a server as an operator does; the host is its address."""
    port = 443 if transport is TurnTransport.TLS else 3478
    return TurnServer(host, port, transport, StaticCredentials(LOGIN.username, LOGIN.password))


class TurnHost:
    """A TURN server at an address of the simulated internet; a `Machine`.

    Args:
        network: where it is plugged in.
        ip: its address, also of what it relays from.
        more: further addresses to relay from.
        stream_latency: seconds one way of connections over TCP and TLS.
    """

    def __init__(
        self, network: SimNetwork, ip: str, *more: str, stream_latency: float = 0.02
    ) -> None:
        self.server = SimTurnServer(ip, *more)
        self.stream_latency = stream_latency
        self._network = network
        self._own = endpoint(ip, 3478)
        self._streams: dict[int, Callable[[bytes], None]] = {}
        self._host = Host(self, self._own)
        network.add(self._host)

    @property
    def dead(self) -> bool:
        """Whether it answers nobody."""
        return self.server.silent

    @dead.setter
    def dead(self, dead: bool) -> None:
        if dead:
            self.server.restart()
        self.server.silent = dead

    def connect(self, number: int, receive: Callable[[bytes], None]) -> None:
        """Take a connection over TCP or TLS."""
        self._streams[number] = receive

    def receive_stream(self, number: int, frame: bytes) -> None:
        """Take a frame that came over one."""
        self.server.receive(number, frame, self._network.now)
        self._rebind()

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        if datagram.destination == self._own:
            self.server.receive(datagram.source, datagram.payload, now)
            self._rebind()
        else:
            self.server.receive_datagram(datagram, now)

    def handle_timeout(self, now: float) -> None:
        pass

    def next_timeout(self) -> float | None:
        return None

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams = self.server.datagrams_to_send()
        for client, frame in self.server.frames_to_send():
            if isinstance(client, Endpoint):
                datagrams.append(Datagram(self._own, client, frame))
            elif isinstance(client, int):
                self._to_stream(client, frame)
        return datagrams

    def next_event(self) -> None:
        return None

    def _to_stream(self, client: int, frame: bytes) -> None:
        receive = self._streams[client]
        self._network.at(self._network.now + self.stream_latency, lambda: receive(frame))

    def _rebind(self) -> None:
        self._host.addresses = (self._own, *self.server.relayed)


@dataclass
class _Connection:
    number: int
    local: Endpoint
    stands: bool = False


class Owner(Protocol):
    """What has a traversal and a WireGuard."""

    traversal: Traversal

    def receive_data(self, datagram: Datagram, now: float) -> None: ...


class RelayLinks:
    """Connections and plugs of one node, as the owner of a traversal keeps them.

    Args:
        network: the simulated internet.
        hosts: TURN servers by the address that names them.
        local: an address of the node.
    """

    _numbers = count(1)

    def __init__(
        self,
        network: SimNetwork,
        hosts: dict[str, TurnHost],
        local: Endpoint,
    ) -> None:
        self.sidecar: Owner | None = None
        self.host: Host | None = None
        self.plug_delay = 0.0
        """Seconds that the owner takes to make a socket."""
        self.reachable: Callable[[TurnServer], bool] = lambda server: True
        """Whether connections over TCP and TLS get through."""
        self.plugs: dict[Endpoint, tuple[TurnServer, int]] = {}
        self.requested: list[TurnServer] = []
        """Every connection that was asked for."""
        self.remade = 0
        """How many were given up for another one."""
        self._network = network
        self._hosts = hosts
        self.local = local
        """Whence connections are made: another one after the node has moved."""
        self._connections: dict[TurnServer, _Connection] = {}
        self._by_channel: dict[tuple[TurnServer, int], Endpoint] = {}
        self._channels: dict[tuple[Endpoint, Endpoint], tuple[TurnServer, int]] = {}
        self._local_ports = count(FIRST_LOCAL_PORT)
        self._plug_ports = count(FIRST_PLUG_PORT)
        self._outbox: list[Datagram] = []

    @property
    def connected(self) -> list[TurnServer]:
        """The servers that we are connected to."""
        return [server for server, connection in self._connections.items() if connection.stands]

    def handle(self, event: TraversalEvent) -> None:
        match event:
            case ConnectionRequested(server):
                self.requested.append(server)
                self._connect(server)
            case ConnectionReleased(server):
                self._connections.pop(server, None)
            case ReconnectRequested(server):
                assert self.sidecar is not None
                self._connections.pop(server, None)
                self.remade += 1
                self.sidecar.traversal.relay_disconnected(server, self._network.now)
                self._connect(server)
            case RelayChannelBound(server, relayed, remote, channel):
                self._network.at(
                    self._network.now + self.plug_delay,
                    lambda: self._plug(server, relayed, remote, channel),
                )
            case RelayChannelLost(relayed=relayed, remote=remote):
                plugged = self._channels.pop((relayed, remote), None)
                if plugged is not None:
                    self.plugs.pop(self._by_channel.pop(plugged), None)
            case _:
                pass

    def flush(self) -> None:
        """Send what the traversal has for the servers."""
        assert self.sidecar is not None
        for frame in self.sidecar.traversal.frames_to_send():
            self._transmit(frame.server, frame.payload)

    def carries(self, datagram: Datagram) -> bool:
        """Send data over a plug; whether it goes to one."""
        plug = self.plugs.get(datagram.destination)
        if plug is None:
            return datagram.destination.ip.is_loopback
        server, channel = plug
        data = ChannelData(channel, datagram.payload)
        self._transmit(server, data.encode(padded=server.transport.reliable))
        return True

    def takes(self, datagram: Datagram) -> bool:
        """Take in what comes over a connection over UDP; whether it does."""
        for server, connection in list(self._connections.items()):
            if connection.local == datagram.destination:
                self._deliver(server, connection, datagram.payload)
                return True
        return FIRST_LOCAL_PORT <= datagram.destination.port < FIRST_LOCAL_PORT + 1000

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def _connect(self, server: TurnServer) -> None:
        local = Endpoint(self.local.ip, next(self._local_ports))
        connection = _Connection(next(self._numbers), local)
        self._connections[server] = connection
        assert self.host is not None
        self.host.addresses = (*self.host.addresses, local)
        host = self._hosts[server.host]
        delay = 2 * host.stream_latency * HANDSHAKES[server.transport]
        self._network.at(self._network.now + delay, lambda: self._connected(server, connection))

    def _connected(self, server: TurnServer, connection: _Connection) -> None:
        assert self.sidecar is not None
        host = self._hosts[server.host]
        if self._connections.get(server) is not connection:
            return
        if server.transport.reliable:
            if host.dead or not self.reachable(server):
                self._network.at(self._network.now + 5.0, lambda: self._again(server, connection))
                return
            host.connect(connection.number, lambda f: self._deliver(server, connection, f))
        connection.stands = True
        self.sidecar.traversal.relay_connected(server, self._network.now)

    def _again(self, server: TurnServer, connection: _Connection) -> None:
        assert self.sidecar is not None
        if self._connections.get(server) is connection:
            self.sidecar.traversal.relay_disconnected(server, self._network.now)
            self._connect(server)

    def _transmit(self, server: TurnServer, frame: bytes) -> None:
        connection = self._connections.get(server)
        if connection is None or not connection.stands:
            return
        host = self._hosts[server.host]
        if server.transport.reliable:
            if self.reachable(server):
                number, when = connection.number, self._network.now + host.stream_latency
                self._network.at(when, lambda: host.receive_stream(number, frame))
        else:
            to = endpoint(server.host, server.port)
            self._outbox.append(Datagram(connection.local, to, frame))

    def _deliver(self, server: TurnServer, connection: _Connection, frame: bytes) -> None:
        if self._connections.get(server) is not connection or self.sidecar is None:
            return
        now = self._network.now
        if is_channel_data(frame):
            data = parse_channel_data(frame)
            plug = self._by_channel.get((server, data.channel))
            if plug is not None and not is_stun(data.payload):
                self.sidecar.receive_data(Datagram(plug, self.local, data.payload), now)
                return
        self.sidecar.traversal.receive_frame(server, frame, now)

    def _plug(self, server: TurnServer, relayed: Endpoint, remote: Endpoint, channel: int) -> None:
        assert self.sidecar is not None
        loopback = endpoint("127.0.0.1", next(self._plug_ports))
        self.plugs[loopback] = (server, channel)
        self._by_channel[server, channel] = loopback
        self._channels[relayed, remote] = (server, channel)
        self.sidecar.traversal.plug(relayed, remote, loopback, self._network.now)
