"""Real sockets around a relay port: WireGuard's and the server's, on loopback."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager

import pytest
import uvloop

from nat.io.channels import Channels
from nat.io.frames import FrameSorter
from nat.io.pump import DatagramPump
from nat.machine import Endpoint
from nat.stun.message import binding_request

CHANNEL = 0x4000
OTHER = 0x4001
CHECK = binding_request(bytes(12))

LOOPS = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
"""What works has to work on both."""

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def run_on(loop_factory: LoopFactory, scenario: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario)


@contextmanager
def udp_socket(family: socket.AddressFamily = socket.AF_INET) -> Iterator[socket.socket]:
    """A non-blocking UDP socket on a free loopback port."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        yield sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


async def receive(sock: socket.socket, count: int) -> list[bytes]:
    """Wait for that many datagrams."""
    return [payload for payload, _ in await receive_from(sock, count)]


async def receive_from(sock: socket.socket, count: int) -> list[tuple[bytes, int]]:
    """Wait for that many datagrams, each with the port that it came from."""
    arrived: list[tuple[bytes, int]] = []
    while len(arrived) < count:
        try:
            payload, source = sock.recvfrom(1 << 16)
        except BlockingIOError:
            await asyncio.sleep(0)
        else:
            arrived.append((payload, source[1]))
    return arrived


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds; if it never does, the test times out."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def send_to(sock: socket.socket, payloads: list[bytes], endpoint: Endpoint) -> None:
    for payload in payloads:
        sock.sendto(payload, (str(endpoint.ip), endpoint.port))


def channel_data(channel: int, payload: bytes) -> bytes:
    return channel.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


class Relayed:
    """A pump between two sockets of the test."""

    def __init__(self, wireguard: socket.socket, server: socket.socket) -> None:
        self.wireguard, self.server = wireguard, server
        self.counters: Counter[str] = Counter()
        self.control: asyncio.Queue[bytes] = asyncio.Queue()
        self.channels = Channels(
            data_port=port_of(wireguard),
            forward=lambda *batch: self.pump.forward(*batch),
            counters=self.counters,
        )
        sorter = FrameSorter(
            channels=self.channels, on_frame=self.control.put_nowait, counters=self.counters
        )
        uplink = socket.socket(server.family, socket.SOCK_DGRAM)
        uplink.connect(server.getsockname())
        server.connect(uplink.getsockname())
        self.pump = DatagramPump(uplink, sorter=sorter, counters=self.counters)

    def close(self) -> None:
        self.pump.close()
        self.channels.close()


@contextmanager
def relayed(family: socket.AddressFamily = socket.AF_INET) -> Iterator[Relayed]:
    with udp_socket() as wireguard, udp_socket(family) as server:
        setup = Relayed(wireguard, server)
        try:
            yield setup
        finally:
            setup.close()
