"""What the black-box tests of the mesh ask of a lab, in their own words."""

import re
from itertools import permutations

from sidecar.status import PeerState, PeerStatus, Status

from .keybase_simulator.admin import SimulatorAdmin
from .lab import Lab
from .node_process import NodeProcess

TEAM = "acme.vpn"
TOPIC = "announce"

CONNECT_SECONDS = 20.0
"""Until a mesh must stand on a loaded machine; on an idle one it takes 3."""

PINGS_PER_SECOND = 50
"""Requests each way and as many replies: design's measure of "zero lost"."""

_SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received")


def simulator(lab: Lab) -> SimulatorAdmin:
    """Return the hand in the lab's Keybase."""
    return SimulatorAdmin(lab.volume("simulator"))


def peer_of(status: Status, username: str, device: str | None = None) -> PeerStatus:
    """Find a peer in a status."""
    for peer in status.peers:
        if peer.username == username and device in (None, peer.device):
            return peer
    raise AssertionError(f"{username}/{device} is not a peer: {status.peers}")


def wait_connected(lab: Lab, nodes: tuple[str, ...], seconds: float = CONNECT_SECONDS) -> None:
    """Wait until each node is connected to all others."""

    def connected() -> bool:
        for node in nodes:
            states = [peer.state for peer in lab.status(node).peers]
            if len(states) < len(nodes) - 1 or set(states) != {PeerState.CONNECTED}:
                return False
        return True

    lab.wait_for(connected, seconds, f"{', '.join(nodes)} are connected")


def ping_all(lab: Lab, nodes: tuple[str, ...]) -> None:
    """Ping every pair through the tunnel, both ways."""
    addresses = {node: str(lab.status(node).self_.ip) for node in nodes}
    for source, target in permutations(nodes, 2):
        lab.exec(source, ["ping", "-c", "2", "-i", "0.2", "-W", "2", addresses[target]])


class Traffic:
    """Pings from each of two nodes to the other, fifty a second, counted by sequence number."""

    def __init__(self, lab: Lab, one: str, other: str, seconds: float) -> None:
        addresses = {node: str(lab.status(node).self_.ip) for node in (one, other)}
        count = str(round(seconds * PINGS_PER_SECOND))
        interval = str(1 / PINGS_PER_SECOND)
        self._running: list[NodeProcess] = [
            lab.popen(source, ["ping", "-q", "-i", interval, "-c", count, addresses[target]])
            for source, target in ((one, other), (other, one))
        ]

    def lost(self, timeout: float) -> int:
        """Wait for the end; return the requests, of both directions, that had no reply."""
        lost = 0
        for process in self._running:
            with process:
                out, _ = process.communicate(timeout=timeout)
            match = _SUMMARY.search(out)
            assert match is not None, f"ping says nothing of its success: {out!r}"
            lost += int(match[1]) - int(match[2])
        return lost
