"""The chat between two simulated peers: each change of one's candidates reaches the other."""

from nat.path.events import CandidatesChanged

from .peers import MEETING, Node, Peers

CHAT = 0.5
"""Seconds that an announcement takes from one end to the other."""

LOOK = 0.01
"""Seconds between two looks for something to announce."""


def announce(peers: Peers, node: Node, to: Node) -> None:
    """Carry every change of a node's candidates to its peer, from their meeting on."""
    seen = 0

    def look() -> None:
        nonlocal seen
        changes = len(node.host.events_of(CandidatesChanged))
        if changes > seen and peers.network.now > MEETING:
            seen = changes
            peers.network.at(peers.network.now + CHAT, lambda: peers.introduce(to, node))

    peers.network.every(LOOK, look)
