"""The sockets of one port, for real on loopback."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest

from nat.io.family_sockets import BATCH, FamilySockets, Received
from nat.machine import Datagram, Endpoint

HERE = Endpoint(IPv4Address("127.0.0.1"), 51820)
THERE = Endpoint(IPv4Address("198.51.100.1"), 4000)
FAR6 = Endpoint(IPv6Address("2001:db8::1"), 4000)


class Scene:
    """Sockets whose datagrams and refusals are kept; `junk` cannot be decoded."""

    def __init__(self) -> None:
        self.received: list[Datagram] = []
        self.refused: list[tuple[Datagram, str]] = []
        self.sockets = FamilySockets(
            decode=self._decode,
            on_datagram=self.received.append,
            on_refused=lambda datagram, error: self.refused.append((datagram, error)),
        )

    def _decode(self, version: int, received: Received) -> Datagram | None:
        payload, _, (ip, port, *_) = received
        assert version == 4
        return (
            None if payload == b"junk" else Datagram(Endpoint(IPv4Address(ip), port), HERE, payload)
        )


def only_v4(version: int) -> socket.socket:
    if version == 6:
        raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


@contextmanager
def opened() -> Iterator[Scene]:
    scene = Scene()
    scene.sockets.open(only_v4)
    try:
        yield scene
    finally:
        scene.sockets.close()


def test_a_host_without_ipv6_has_one_family_and_the_other_is_counted_and_told() -> None:
    with opened() as scene:
        assert scene.sockets.families == {4}
        unsent = Datagram(Endpoint(IPv6Address("::1"), 51820), FAR6, b"no family")
        scene.sockets.send(unsent, lambda sock: pytest.fail("there is no socket"))

        assert scene.refused == [(unsent, "EAFNOSUPPORT")]
        assert scene.sockets.counters == {"family-v6-unavailable": 1, "send-no-family": 1}
    assert scene.sockets.families == frozenset()


def test_what_the_host_does_not_send_is_counted_and_told_by_the_name_of_the_error() -> None:
    def refuse(_: socket.socket) -> None:
        raise OSError(errno.EMSGSIZE, "too long")

    with opened() as scene:
        datagram = Datagram(HERE, THERE, b"long")
        scene.sockets.send(datagram, refuse)
        scene.sockets.send(datagram, lambda sock: None)

        assert scene.refused == [(datagram, "EMSGSIZE")]
        assert scene.sockets.counters["send-EMSGSIZE"] == 1
        assert scene.sockets.counters["sent"] == 1


def test_what_may_not_be_made_leaves_nothing_open() -> None:
    made: list[socket.socket] = []

    def forbid_v6(version: int) -> socket.socket:
        if version == 6:
            raise PermissionError
        made.append(only_v4(version))
        return made[-1]

    scene = Scene()
    with pytest.raises(PermissionError):
        scene.sockets.open(forbid_v6)

    assert scene.sockets.families == frozenset()
    assert made[0].fileno() == -1


def test_junk_is_counted_and_a_flood_is_read_in_batches() -> None:
    async def flood() -> Scene:
        with opened() as scene:
            address: list[tuple[str, int]] = []
            scene.sockets.send(
                Datagram(HERE, THERE, b""), lambda sock: address.append(sock.getsockname())
            )
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                for number in range(BATCH + 6):
                    peer.sendto(b"junk" if number % 7 == 0 else b"good", address[0])
                scene.sockets.listen()
                asyncio.get_running_loop().call_soon(
                    lambda: scene.received.append(Datagram(HERE, HERE, b"a timer's turn"))
                )
                async with asyncio.timeout(5):
                    while scene.sockets.counters["received"] < BATCH + 6 - 10:  # noqa: ASYNC110 - the kernel
                        await asyncio.sleep(0)
            return scene

    scene = asyncio.run(flood())

    assert scene.sockets.counters["receive-malformed"] == 10
    turn = [datagram.payload for datagram in scene.received].index(b"a timer's turn")
    assert turn <= BATCH, "the loop got its turn before the flood was over"
    assert len(scene.received) == BATCH + 6 - 10 + 1
