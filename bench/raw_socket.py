"""What it costs WireGuard to share its port: raw sockets, or port rewriting by nftables, or nothing.

The kernel clones every UDP datagram of the host for a raw socket before its filter sees it; rules
look at each packet instead. Both ends of the tunnel have the same.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from integration.lab import Lab

from .lab_pairs import NODES, PORT, TUNNEL, by_hand, megabits
from .rounds import Comparison, Variant

MTU: Final = 1420

_OTHER_PORT: Final = PORT + 1
DEMULTIPLEXER: Final = f"""
chain pre {{
  type filter hook prerouting priority -150; policy accept;
  udp dport {PORT} udp length >= 28 @th,96,32 0x2112a442 udp dport set {_OTHER_PORT}
}}
chain out {{
  type filter hook output priority -350; policy accept;
  udp sport {_OTHER_PORT} udp sport set {PORT}
}}
"""
"""STUN for WireGuard's port goes to a socket of its own, and leaves as from WireGuard's port."""


@contextmanager
def _raw_sockets(lab: Lab, node: str) -> Iterator[None]:
    argv = ["python", "-m", "bench.raw_listener", str(PORT)]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with lab.popen(node, argv, environment=environment) as listener:
        try:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "open\n"
            yield
        finally:
            listener.kill()


@contextmanager
def _demultiplexer(lab: Lab, node: str) -> Iterator[None]:
    rules = lab.nft(node, DEMULTIPLEXER)
    try:
        yield
    finally:
        rules.remove()


@contextmanager
def _nothing(lab: Lab, node: str) -> Iterator[None]:
    yield


def _measure(lab: Lab, share: Callable[[Lab, str], AbstractContextManager[None]]) -> float:
    with ExitStack() as stack:
        for node in NODES:
            stack.enter_context(share(lab, node))
        return megabits(lab, TUNNEL["bob"])


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring a pair up by hand, and compare."""
    ways = {
        "alone on its port": _nothing,
        "raw sockets": _raw_sockets,
        "nft demultiplexer": _demultiplexer,
    }
    with by_hand(MTU) as lab:
        yield [
            Comparison(
                title="raw-socket: TCP through the tunnel",
                unit="Mbit/s",
                baseline="alone on its port",
                variants=[
                    Variant(name, partial(_measure, lab, share)) for name, share in ways.items()
                ],
            )
        ]
