"""The port without raw sockets: its sockets for real on loopback, its rules by their text.

That the rules do what they say is seen in the container's tests.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address

import pytest

from nat.errors import SharedPortError
from nat.io.demultiplexed_port import DemultiplexedPort, removal, rules
from nat.machine import Datagram, Endpoint

WIREGUARD = 51820
HERE = IPv4Address("127.0.0.1")


class Scene:
    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.received: list[Datagram] = []
        self.refused: list[str] = []
        self.kernel: str | None = None
        """The rules that are in force."""
        self.port = DemultiplexedPort(
            WIREGUARD,
            mark=0,
            load=self.load,
            show=lambda table: self.kernel,
            table="kbwg-stun-kbwg0",
            on_datagram=self.received.append,
            on_refused=lambda _, error: self.refused.append(error),
        )

    def load(self, commands: str) -> None:
        self.loaded.append(commands)
        self.kernel = commands


def play(act: Callable[[Scene], Coroutine[None, None, None]]) -> Scene:
    async def scenario() -> Scene:
        scene = Scene()
        scene.port.open()
        try:
            await act(scene)
        finally:
            scene.port.close()
        return scene

    return asyncio.run(scenario())


def test_a_datagram_leaves_from_the_inner_port_and_one_that_comes_seems_to_come_to_wireguards() -> (
    None
):
    async def exchange(scene: Scene) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((str(HERE), 0))
            peer.settimeout(5)
            there = Endpoint(HERE, peer.getsockname()[1])
            scene.port.send(Datagram(Endpoint(HERE, WIREGUARD), there, b"check"))
            payload, inner = peer.recvfrom(100)
            assert payload == b"check"
            assert f"udp dport set {inner[1]}" in scene.loaded[0]
            peer.sendto(b"answer", inner)
            async with asyncio.timeout(5):
                while not scene.received:  # noqa: ASYNC110 - the kernel delivers it
                    await asyncio.sleep(0.01)
            assert scene.received == [Datagram(there, Endpoint(HERE, WIREGUARD), b"answer")]

    scene = play(exchange)
    assert (scene.port.counters["sent"], scene.port.counters["received"]) == (1, 1)


def test_the_rules_come_with_the_sockets_and_go_with_them() -> None:
    async def nothing(_: Scene) -> None:
        """Open and close."""

    scene = play(nothing)

    assert len(scene.loaded) == 2
    assert scene.loaded[0].startswith(removal("kbwg-stun-kbwg0")), "a former run's are replaced"
    assert scene.loaded[1] == removal("kbwg-stun-kbwg0")
    assert scene.port.families == frozenset()


@pytest.mark.parametrize("left", [None, "table inet kbwg-stun-kbwg0 {}"], ids=["gone", "empty"])
def test_rules_that_somebody_flushes_are_put_back(left: str | None) -> None:
    async def flush(scene: Scene) -> None:
        assert not scene.port.mend()
        scene.kernel = left

        assert scene.port.mend()
        assert not scene.port.mend()

    scene = play(flush)

    assert scene.loaded[1] == scene.loaded[0]
    assert len(scene.loaded) == 3
    assert not scene.port.mend(), "what is closed needs no rules"


def test_what_this_host_forwards_to_others_is_left_alone() -> None:
    arriving = rules("t", WIREGUARD, 40000).partition("chain output")[0]
    about_ports = [line.strip() for line in arriving.splitlines() if "udp dport" in line]

    assert len(about_ports) == 2
    assert all(line.startswith("fib daddr type local ") for line in about_ports)


def test_rules_that_are_refused_leave_no_socket_behind() -> None:
    def refuse(_: str) -> None:
        raise OSError("no nf_tables in this kernel")

    port = DemultiplexedPort(WIREGUARD, mark=0, load=refuse, show=str, table="t", on_datagram=print)

    with pytest.raises(SharedPortError, match=r"CAP_NET_RAW.*no nf_tables"):
        asyncio.run(_open(port))
    assert port.families == frozenset()


async def _open(port: DemultiplexedPort) -> None:
    port.open()


def test_what_cannot_be_sent_is_counted_and_told() -> None:
    async def send(scene: Scene) -> None:
        elsewhere = Endpoint(IPv4Address("198.51.100.1"), 4000)
        foreign = Endpoint(IPv4Address("192.0.2.77"), WIREGUARD)
        scene.port.send(Datagram(foreign, elsewhere, b"from an address that is not ours"))

    scene = play(send)

    assert len(scene.refused) == 1
    assert scene.port.counters["sent"] == 0


def test_only_stun_that_cannot_be_wireguards_is_led_away() -> None:
    text = rules("kbwg-stun-kbwg0", WIREGUARD, 40000)

    assert (
        "udp dport 51820 udp length >= 28 @th,64,2 0 @th,80,16 != 0 @th,96,32 0x2112a442 "
        "udp dport set 40000 udp checksum set 0"
    ) in text
    assert text.index("udp dport 40000 drop") < text.index("udp dport 51820")
    assert "udp sport 40000 udp sport set 51820" in text
