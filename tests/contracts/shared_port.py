"""STUN on a port that WireGuard is bound to, for whoever sits at the other end of a pipe, as root:

    python -m tests.contracts.shared_port raw|nftables PORT MARK ADDRESS

Prints `ready`. For each line of standard input, an endpoint, it sends a STUN request from ADDRESS;
each STUN message that arrives is printed as `request` or `answer` and its source. A request is
answered.
"""

import asyncio
import os
import struct
import sys
from ipaddress import ip_address

from nat.io.demultiplexed_port import DemultiplexedPort
from nat.io.shared_port import SharedPort
from nat.machine import Datagram, Endpoint
from sidecar import nft

HEADER = struct.Struct("!HHI12s")
SOFTWARE = struct.pack("!HH4s", 0x8022, 4, b"kbwg")
"""An attribute that none minds: without any, STUN begins as WireGuard's messages do."""

REQUEST, ANSWER = 0x0001, 0x0101
"""Binding, RFC 8489 section 5."""

COOKIE = 0x2112A442


def message(kind: int, transaction: bytes) -> bytes:
    return HEADER.pack(kind, len(SOFTWARE), COOKIE, transaction) + SOFTWARE


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve(way: str, port: int, mark: int, address: str) -> None:
    """Run until standard input ends."""
    own = Endpoint(ip_address(address), port)

    def take(datagram: Datagram) -> None:
        kind, _, _, transaction = HEADER.unpack_from(datagram.payload)
        words = {REQUEST: "request", ANSWER: "answer"}
        say(f"{words.get(kind, hex(kind))} {datagram.source}")
        if kind == REQUEST:
            shared.send(Datagram(own, datagram.source, message(ANSWER, transaction)))

    shared: SharedPort | DemultiplexedPort
    if way == "raw":
        shared = SharedPort(port, mark=mark, on_datagram=take)
    else:
        shared = DemultiplexedPort(
            port,
            mark=mark,
            load=nft.run,
            show=lambda _: None,  # nobody takes the rules away here
            table="shared-port",
            on_datagram=take,
        )
    shared.open()
    try:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        say("ready")
        async for line in reader:
            ip, _, remote = line.decode().strip().rpartition(":")
            to = Endpoint(ip_address(ip.strip("[]")), int(remote))
            shared.send(Datagram(own, to, message(REQUEST, os.urandom(12))))
    finally:
        shared.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 0), sys.argv[4]))
