"""Runs a discovery of NAT behaviour on two fresh ports of an address."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from random import Random
from typing import Final

from ..machine import Datagram, Endpoint, IPAddress
from ..stun.behaviour import BehaviourDiscovery, BehaviourFound
from .driver import Driver

MAX_DATAGRAM: Final = 2048
"""Bytes of an answer that are read."""

BATCH: Final = 16
"""Datagrams read in one go."""


async def discover_behaviour(
    ip: IPAddress, servers: Sequence[Endpoint], *, mark: int, rng: Random
) -> BehaviourFound:
    """Find out what stands between an address of ours and the internet; takes 5 s at most.

    Args:
        ip: the local address.
        servers: STUN servers, one of them with RFC 5780 if filtering shall be known.
        mark: SO_MARK of what is sent; 0 for none.
        rng: source of transaction ids.

    Raises:
        OSError: the address is not ours any more.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[BehaviourFound] = loop.create_future()
    with ExitStack() as stack:
        sockets = [stack.enter_context(_open(ip, mark)) for _ in range(2)]
        by_port = {sock.getsockname()[1]: sock for sock in sockets}
        ends = [Endpoint(ip, port) for port in by_port]

        def send(datagram: Datagram) -> None:
            destination = (str(datagram.destination.ip), datagram.destination.port)
            with suppress(OSError):
                by_port[datagram.source.port].sendto(datagram.payload, destination)

        machine = BehaviourDiscovery(ends[0], ends[1], servers, rng=rng, now=loop.time())
        driver = Driver[BehaviourFound](machine, send=send, on_event=found.set_result)
        stack.callback(driver.close)
        for sock, end in zip(sockets, ends, strict=True):
            loop.add_reader(sock.fileno(), _receive, sock, end, driver)
            stack.callback(loop.remove_reader, sock.fileno())
        return await found


def _receive(sock: socket.socket, local: Endpoint, driver: Driver[BehaviourFound]) -> None:
    with suppress(OSError):
        for _ in range(BATCH):
            payload, address = sock.recvfrom(MAX_DATAGRAM)
            source = Endpoint(type(local.ip)(address[0].partition("%")[0]), address[1])
            driver.receive_datagram(Datagram(source, local, payload))


def _open(ip: IPAddress, mark: int) -> socket.socket:
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        sock.bind((str(ip), 0))
    except OSError:
        sock.close()
        raise
    return sock
