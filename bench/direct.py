"""Throughput of a direct path: the agent's interface against WireGuard configured by hand.

Both are wireguard-go in the same kind of network at the same time; the one measured has the machine
to itself but for the other's keepalives. What differs is the agent, its raw sockets on the port and
its interface.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from .lab_pairs import TUNNEL, address_of, agents, by_hand, megabits, mtu_of
from .rounds import Comparison, Variant


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Bring both up, and compare."""
    with agents() as lab, by_hand(mtu_of(lab)) as hand:
        address = address_of(lab, "bob")
        yield [
            Comparison(
                title="direct: TCP through the tunnel",
                unit="Mbit/s",
                baseline="by hand",
                variants=[
                    Variant("agent", lambda: megabits(lab, address)),
                    Variant("by hand", lambda: megabits(hand, TUNNEL["bob"])),
                ],
            )
        ]
