"""Data between two simulated peers, and what its receivers saw of it."""

import math
from itertools import pairwise

from .peers import Node, Peers

UNDER_WAY = 1.0
"""Seconds after which whatever was sent has come in."""


def send_data(peers: Peers, interval: float, since: float) -> None:
    """Let each side send a packet each `interval` seconds from a time on."""
    for node in (peers.a, peers.b):
        node.wireguard.send_data_every(interval, since)


def stop_data(peers: Peers) -> None:
    """Let neither side send any more, and wait for what is under way."""
    now = peers.network.now
    send_data(peers, math.inf, now)
    peers.run(now + UNDER_WAY)


def longest_gap(node: Node, since: float, until: float) -> float:
    """Seconds without a data packet, at most."""
    times = [at for at, _ in node.wireguard.received if since <= at <= until]
    return max(after - before for before, after in pairwise([since, *times, until]))


def lost(peers: Peers) -> int:
    """Count the data packets that were sent and have not come in."""
    a, b = peers.a.wireguard, peers.b.wireguard
    return sum(
        sender.sent - len({number for _, number in receiver.received})
        for sender, receiver in ((a, b), (b, a))
    )
