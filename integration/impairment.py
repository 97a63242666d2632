"""A worse internet: delay, loss and reordering of all that a node forwards.

The kernels of many machines have no netem, so the node's forwarded packets take a turn through a
TUN device and this process, which is good for some thousand packets a second.

    eth0 ──▶ rule: came in by a cable ──▶ impair ──▶ here ──▶ impair ──▶ main table ──▶ eth1
"""

import fcntl
import heapq
import itertools
import os
import random
import selectors
import signal
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .errors import TopologyError
from .own_network import cables, run

DEVICE: Final = "impair"

TABLE: Final = "100"
"""Of the route into the device, for packets that have just come in by a cable."""

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000

MTU: Final = 65535
"""Whatever a cable let in passes; what is too large for the next is that cable's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """What happens to a packet on its way, in one direction."""

    delay: float = 0.0
    """Seconds."""

    jitter: float = 0.0
    """Seconds that a packet may take longer, evenly spread: those behind it overtake."""

    loss: float = 0.0
    """Share of packets that vanish."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Impairment":
        """Read `DELAY_MS`, `JITTER_MS` and `LOSS_PERCENT`.

        Raises:
            TopologyError: not a number, or out of range.
        """

        def number(name: str, at_most: float) -> float:
            text = environment.get(name) or "0"
            try:
                value = float(text)
            except ValueError:
                value = -1.0
            if not 0 <= value <= at_most:
                raise TopologyError(f"{name} is a number from 0 to {at_most:g}, not {text!r}")
            return value

        return cls(
            delay=number("DELAY_MS", 60_000) / 1000,
            jitter=number("JITTER_MS", 60_000) / 1000,
            loss=number("LOSS_PERCENT", 100) / 100,
        )

    @property
    def is_none(self) -> bool:
        return self == Impairment()


class Line:
    """Packets under way: takes them in, and gives them out when their time has come."""

    def __init__(self, impairment: Impairment, rng: random.Random) -> None:
        self._impairment = impairment
        self._rng = rng
        self._number = itertools.count()
        self._under_way: list[tuple[float, int, bytes]] = []

    def enter(self, packet: bytes, now: float) -> None:
        """Take a packet in; it may be lost."""
        if self._rng.random() < self._impairment.loss:
            return
        due = now + self._impairment.delay + self._rng.uniform(0, self._impairment.jitter)
        heapq.heappush(self._under_way, (due, next(self._number), packet))

    def leave(self, now: float) -> list[bytes]:
        """Give out every packet whose time has come."""
        packets = []
        while self._under_way and self._under_way[0][0] <= now:
            packets.append(heapq.heappop(self._under_way)[2])
        return packets

    def next_at(self) -> float | None:
        """When the next packet leaves; `None`: there is none."""
        return self._under_way[0][0] if self._under_way else None


def impair_for_ever(impairment: Impairment, ready: Callable[[], None]) -> None:
    """Send all that the node forwards through a line, until SIGTERM or SIGINT.

    Args:
        impairment: what becomes of it.
        ready: is called as soon as it is so.
    """
    entrances = cables()
    device = _open_device()
    run("ip", "route", "add", "default", "dev", DEVICE, "table", TABLE)
    for cable in entrances:
        run("ip", "rule", "add", "iif", cable, "lookup", TABLE)
    line = Line(impairment, random.Random())
    wake, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: None)
    ready()
    with selectors.DefaultSelector() as selector:
        selector.register(device, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            next_at = line.next_at()
            wait = None if next_at is None else max(0.0, next_at - time.monotonic())
            readable = {key.fd for key, _ in selector.select(wait)}
            if wake in readable:
                return
            if device in readable:
                line.enter(os.read(device, MTU), time.monotonic())
            for packet in line.leave(time.monotonic()):
                os.write(device, packet)


def _open_device() -> int:
    device = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(device, _TUNSETIFF, request)
    run("ip", "link", "set", DEVICE, "mtu", str(MTU), "up")
    return device
