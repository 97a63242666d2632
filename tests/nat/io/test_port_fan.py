"""Opened ports on the loopback interface: who is heard, what is held, what is let go."""

import asyncio
import errno
import resource
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from ipaddress import IPv4Address
from random import Random

from nat.io.port_fan import PortFan
from nat.machine import Datagram, Endpoint
from nat.stun.message import binding_request

LOCAL = IPv4Address("127.0.0.1")
STUN = binding_request(Random(1).randbytes(12))
SECONDS = 5.0


class Far:
    """A socket of the other side."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(SECONDS)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(LOCAL, self.socket.getsockname()[1])

    def send(self, payload: bytes, port: int) -> None:
        self.socket.sendto(payload, ("127.0.0.1", port))


class Heard:
    """What a fan has delivered."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Datagram] = asyncio.Queue()
        self.fan = PortFan(mark=0, on_datagram=self.queue.put_nowait)

    async def next(self) -> Datagram:
        async with asyncio.timeout(SECONDS):
            return await self.queue.get()


def on_a_loop(test: Callable[[Heard, Far], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Run a test on an event loop of its own, with a fan and a far side that are closed again."""

    async def with_both() -> None:
        heard, far = Heard(), Far()
        with closing(heard.fan), closing(far.socket):
            await test(heard, far)

    def run() -> None:
        asyncio.run(with_both())

    return run


def taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


@on_a_loop
async def test_each_port_hears_the_peer_and_says_where(heard: Heard, far: Far) -> None:
    ports = heard.fan.open(LOCAL, far.endpoint, 20)
    assert len(set(ports)) == 20

    for port in (ports[7], ports[19]):
        far.send(STUN, port)
        assert await heard.next() == Datagram(far.endpoint, Endpoint(LOCAL, port), STUN)


@on_a_loop
async def test_nobody_else_and_nothing_else_is_heard(heard: Heard, far: Far) -> None:
    stranger = Far()
    port = heard.fan.open(LOCAL, far.endpoint, 1)[0]

    with closing(stranger.socket):
        stranger.send(STUN, port)
    far.send(b"\x04" + bytes(40), port)
    far.send(b"", port)
    far.send(STUN, port)

    assert (await heard.next()).source == far.endpoint
    await asyncio.sleep(0)
    assert heard.queue.empty()
    assert heard.fan.counters["received"] == 1


@on_a_loop
async def test_sending_leaves_from_the_very_port_with_its_ttl(heard: Heard, far: Far) -> None:
    far.socket.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
    port = heard.fan.open(LOCAL, far.endpoint, 3)[1]
    local = Endpoint(LOCAL, port)

    assert heard.fan.has(local)
    heard.fan.send(Datagram(local, far.endpoint, STUN, ttl=3))

    payload, beside, _, source = await asyncio.to_thread(far.socket.recvmsg, 2048, 64)
    assert (payload, source) == (STUN, ("127.0.0.1", port))
    assert [int.from_bytes(value, "little") for _, _, value in beside] == [3]


@on_a_loop
async def test_a_kept_port_is_held_deaf_until_it_is_released(heard: Heard, far: Far) -> None:
    kept, other = heard.fan.open(LOCAL, far.endpoint, 2)
    heard.fan.keep(Endpoint(LOCAL, kept))

    far.send(STUN, kept)
    far.send(STUN, other)
    assert (await heard.next()).destination.port == other
    heard.fan.close_open()

    assert not heard.fan.has(Endpoint(LOCAL, kept))
    assert taken(kept)
    assert not taken(other)
    heard.fan.release(Endpoint(LOCAL, kept))
    assert not taken(kept)


@on_a_loop
async def test_a_port_of_a_former_run_is_held_again_if_it_is_free(heard: Heard, far: Far) -> None:
    port = heard.fan.open(LOCAL, far.endpoint, 1)[0]

    assert not PortFan(mark=0, on_datagram=print).adopt(Endpoint(LOCAL, port))
    heard.fan.close()
    second = PortFan(mark=0, on_datagram=print)
    assert second.adopt(Endpoint(LOCAL, port))
    assert taken(port)
    second.close()
    assert not taken(port)


@on_a_loop
async def test_opening_anew_closes_what_was_open(heard: Heard, far: Far) -> None:
    first = heard.fan.open(LOCAL, far.endpoint, 5)
    second = heard.fan.open(LOCAL, far.endpoint, 5)

    assert not any(taken(port) for port in set(first) - set(second))
    heard.fan.close()
    assert not any(taken(port) for port in second)


@on_a_loop
async def test_a_host_without_more_descriptors_gives_what_it_has(heard: Heard, far: Far) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        in_use = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 16, hard))
    try:
        ports = heard.fan.open(LOCAL, far.endpoint, 256)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert 1 <= len(ports) < 256
    assert heard.fan.counters["open-EMFILE"] == 1


@on_a_loop
async def test_a_host_without_any_descriptor_gives_nothing(heard: Heard, far: Far) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        in_use = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use, hard))
    try:
        ports = heard.fan.open(LOCAL, far.endpoint, 256)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert ports == []
    assert heard.fan.counters["open-EMFILE"] == 1
