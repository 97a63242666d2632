"""CPU that one relayed packet costs: our pump against aioice's TURN client on uvloop.

The measured process gets packets in lockstep: a batch is sent, and when all of it has come out on
the other side, the next. So nothing is ever lost, both variants see the same batches, and what is
divided is the process's own CPU time, which the machine's other load hardly touches.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from nat.io.mmsg import UDP_SEGMENT, enable_gro

from .pump_subject import CHANNEL
from .rounds import Comparison, Variant
from .subject import subject

PAYLOAD: Final = 1452
"""Bytes of a full WireGuard packet at the usual MTU of 1420."""

PACKETS: Final = 312 * 64
"""Of each measurement; a quarter of a second of CPU at most."""

WARM_UP: Final = 32 * 64

BULK: Final = 64
"""Packets in flight: what lies in a socket when the event loop comes round during a download."""

TIMEOUT: Final = 5.0
"""Seconds without a packet after which something is broken."""


@contextmanager
def _sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """WireGuard's socket and the server's."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wireguard,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        for sock in (wireguard, server):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(TIMEOUT)
        yield wireguard, server


@dataclass(frozen=True, slots=True)
class _Case:
    """Traffic.

    Attributes:
        outwards: from WireGuard to the server, otherwise back.
        batch: packets in flight.
        burst: WireGuard sends and takes many packets as one, as wireguard-go does.
    """

    outwards: bool
    batch: int
    burst: bool = False


def microseconds(variant: str, case: _Case) -> float:
    """Measure CPU microseconds a packet of `pump` or `aioice`."""
    outwards, batch, burst = case.outwards, case.batch, case.burst
    with _sockets() as (wireguard, server):
        ports = wireguard.getsockname()[1], server.getsockname()[1]
        with subject("bench.pump_subject", variant, *ports) as process:
            wireguard.connect(("127.0.0.1", int(process.ready["endpoint"])))
            server.connect(("127.0.0.1", int(process.ready["uplink"])))
            source, sink = (wireguard, server) if outwards else (server, wireguard)
            payload = b"\4\0\0\0" + bytes(PAYLOAD - 4)
            if not outwards:
                payload = CHANNEL.to_bytes(2, "big") + PAYLOAD.to_bytes(2, "big") + payload
            if burst and outwards:
                source.setsockopt(socket.SOL_UDP, UDP_SEGMENT, len(payload))
            elif burst:
                enable_gro(sink)
            at_once = min(batch, 65_000 // len(payload)) if burst and outwards else 1
            _lockstep(source, sink, payload, batch=batch, at_once=at_once, packets=WARM_UP)
            before = process.cpu_time()
            _lockstep(source, sink, payload, batch=batch, at_once=at_once, packets=PACKETS)
            return (process.cpu_time() - before) / PACKETS * 1e6


def _lockstep(
    source: socket.socket,
    sink: socket.socket,
    payload: bytes,
    *,
    batch: int,
    at_once: int,
    packets: int,
) -> None:
    for _ in range(packets // batch):
        left = batch
        while left:
            count = min(left, at_once)
            source.send(payload * count)
            left -= count
        # Counted in bytes: with GRO many packets are one reception. Frames are 4 bytes longer.
        awaited = batch * PAYLOAD
        while awaited > 0:
            received = len(sink.recv(1 << 16))
            awaited -= received if received % PAYLOAD == 0 else PAYLOAD


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Return what is compared: each direction, in bulk and packet by packet."""
    cases = {
        "out, bulk, bursts as of wireguard-go": _Case(outwards=True, batch=BULK, burst=True),
        "out, bulk, single datagrams as of the kernel": _Case(outwards=True, batch=BULK),
        "in, bulk, to wireguard-go": _Case(outwards=False, batch=BULK, burst=True),
        "in, bulk, to a socket without GRO": _Case(outwards=False, batch=BULK),
        "out, one packet at a time": _Case(outwards=True, batch=1),
    }
    yield [
        Comparison(
            title=f"pump, {title}: CPU a packet",
            unit="µs",
            baseline="pump",
            variants=[
                Variant(name, partial(microseconds, name, case)) for name in ("pump", "aioice")
            ],
        )
        for title, case in cases.items()
    ]
