"""Run the back ends' contract on a real one, as root: `python -m tests.contracts userspace`.

Makes interfaces, so run it in a network namespace of its own.
"""

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address

from nat.machine import Endpoint
from sidecar.errors import PortInUseError
from sidecar.wireguard.backend import Backend
from sidecar.wireguard.changes import AddAddress, AddPeer, OpenPeer, SetDevice, SetUp
from sidecar.wireguard.kernel import KernelBackend
from sidecar.wireguard.userspace import UserspaceBackend

from .backend import ADDRESS, ALIAS, CONTRACT, KEY, NET_ONE, ONE, PORT, state_of

BACKENDS: dict[str, Callable[[str], Backend]] = {
    "kernel": KernelBackend,
    "userspace": UserspaceBackend,
}


async def a_port_in_use_is_said(make: Callable[[str], Backend]) -> None:
    """Two interfaces cannot have one port; this needs sockets, so the fake has no part in it."""
    first, second = make("kbwgc1"), make("kbwgc2")
    try:
        await first.create(ALIAS)
        await first.apply([SetDevice(KEY, PORT), SetUp()])
        await second.create(ALIAS)
        try:
            await second.apply([SetUp(), SetDevice(KEY, PORT)])
        except PortInUseError:
            assert (await state_of(second)).listen_port != PORT
            return
        raise AssertionError("two interfaces have one port")
    finally:
        await first.destroy()
        await second.destroy()


async def a_peer_opens_at_once_whatever_was_sent_to_it_before(
    make: Callable[[str], Backend],
) -> None:
    """A packet from before there was an endpoint must not count as a handshake; nor a lost one."""
    backend = make("kbwgc0")
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as application,
    ):
        far.bind(("127.0.0.1", 0))
        far.setblocking(False)
        try:
            await backend.create(ALIAS)
            await backend.apply(
                [SetDevice(KEY, PORT), AddPeer(ONE, frozenset({NET_ONE})), AddAddress(ADDRESS)]
            )
            await backend.apply([SetUp()])
            with suppress(OSError):  # the kernel says at once that it cannot be sent
                application.sendto(b"early", (str(NET_ONE.network_address), 9))
            await asyncio.sleep(0.2)
            endpoint = Endpoint(IPv4Address("127.0.0.1"), far.getsockname()[1])
            for again in (False, True, True):
                await backend.apply([OpenPeer(ONE, endpoint, 25, again=again)])
                async with asyncio.timeout(2):
                    initiation = await loop.sock_recv(far, 1500)
                assert (len(initiation), initiation[0]) == (148, 1)
        finally:
            await backend.destroy()


async def main(name: str) -> None:
    """Run every case on an interface of its own."""
    make = BACKENDS[name]
    for case in CONTRACT:
        backend = make("kbwgc0")
        try:
            await case(backend)
        finally:
            await backend.destroy()
        sys.stdout.write(f"ok {getattr(case, '__name__', case)}\n")
    for real in (a_port_in_use_is_said, a_peer_opens_at_once_whatever_was_sent_to_it_before):
        await real(make)
        sys.stdout.write(f"ok {real.__name__}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
