"""What the rules that tell STUN apart do to real datagrams, as root.

Run it in a network namespace of its own, with its loopback up:
`unshare --net python -m tests.contracts.demultiplexer`.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from nat.io.stun_port import StunPort
from nat.machine import Datagram, Endpoint
from nat.stun.message import binding_indication
from sidecar import nft
from sidecar.agent.stun_port import demultiplexed_port

from .splices import FAR, OURS, SECONDS, bound, endpoint

STUN = binding_indication(bytes(12))
DATA = b"\x04" + bytes(31)
"""As WireGuard's data begins."""


@dataclass(frozen=True, slots=True)
class Scene:
    """WireGuard's socket, the far side's, the port that shares the former, and what it got."""

    wireguard: socket.socket
    far: socket.socket
    port: StunPort
    received: list[Datagram]


@contextmanager
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        wireguard, far = (stack.enter_context(bound(ip)) for ip in (OURS, FAR))
        received: list[Datagram] = []
        port = demultiplexed_port(
            "kbwg0.5-a",
            endpoint(wireguard).port,
            mark=0,
            on_datagram=received.append,
            on_refused=print,
        )
        port.open()
        stack.callback(port.close)
        yield Scene(wireguard, far, port, received)


async def arrives(at: Scene, payload: bytes) -> bool:
    """Whether what the far side sends to WireGuard's port comes to ours, and as from there."""
    at.received.clear()
    at.far.sendto(payload, at.wireguard.getsockname())
    await asyncio.sleep(0.1)
    return at.received == [Datagram(endpoint(at.far), endpoint(at.wireguard), payload)]


async def stun_comes_to_us_and_data_to_wireguard(at: Scene) -> None:
    assert await arrives(at, STUN)
    assert not await arrives(at, DATA)
    assert at.wireguard.recvfrom(64) == (DATA, at.far.getsockname())


async def what_we_send_leaves_from_wireguards_port(at: Scene) -> None:
    source = Endpoint(IPv4Address(OURS), endpoint(at.wireguard).port)
    at.port.send(Datagram(source, endpoint(at.far), STUN))
    assert at.far.recvfrom(64) == (STUN, at.wireguard.getsockname())


async def flushed_rules_are_put_back(at: Scene) -> None:
    for flush in ("flush ruleset", "flush table inet kbwg-stun-kbwg0-5-a"):
        assert not at.port.mend()
        nft.run(flush)
        assert not await arrives(at, STUN)
        assert at.port.mend()
        assert await arrives(at, STUN)


async def closing_leaves_nothing(at: Scene) -> None:
    at.port.close()
    assert nft.query("list tables")[1:] == []
    assert not at.port.mend()


CASES: tuple[Callable[[Scene], Coroutine[None, None, None]], ...] = (
    stun_comes_to_us_and_data_to_wireguard,
    what_we_send_leaves_from_wireguards_port,
    flushed_rules_are_put_back,
    closing_leaves_nothing,
)


async def play(case: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    with scene() as at:
        async with asyncio.timeout(10 * SECONDS):
            await case(at)


def main() -> None:
    """Run every case."""
    for case in CASES:
        asyncio.run(play(case))
        sys.stdout.write(f"ok {case.__name__}\n")


if __name__ == "__main__":
    main()
