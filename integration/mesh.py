"""What the black-box tests of the mesh ask of a lab, in their own words."""

from itertools import permutations

from sidecar.status import PeerState, PeerStatus, Status

from .keybase_simulator.admin import SimulatorAdmin
from .lab import Lab
from .traffic import Traffic

TEAM = "acme.vpn"
TOPIC = "announce"

CONNECT_SECONDS = 20.0
"""Until a mesh must stand on a loaded machine; on an idle one it takes 3."""


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
    """Wait until each node has an address and is connected to all others."""

    def connected() -> bool:
        return all(is_connected(lab.status(node), len(nodes) - 1) for node in nodes)

    lab.wait_for(connected, seconds, f"{', '.join(nodes)} are connected")


def is_connected(status: Status, count: int) -> bool:
    """Say whether an agent has an address, and peers, at least `count`, all of them connected."""
    states = [peer.state for peer in status.peers]
    return (
        status.self_.ip is not None
        and len(states) >= count
        and set(states) == {PeerState.CONNECTED}
    )


def ping_all(lab: Lab, nodes: tuple[str, ...]) -> None:
    """Ping every pair through the tunnel, both ways."""
    addresses = {node: str(lab.status(node).self_.ip) for node in nodes}
    for source, target in permutations(nodes, 2):
        lab.exec(source, ["ping", "-c", "2", "-i", "0.2", "-W", "2", addresses[target]])


def traffic(lab: Lab, one: str, other: str) -> Traffic:
    """Begin to count datagrams both ways through the tunnel; use it as a context."""
    addresses = {node: lab.status(node).self_.ip for node in (one, other)}
    ends = [(node, ip) for node, ip in addresses.items() if ip is not None]
    assert len(ends) == 2, f"{one} and {other} have addresses"
    return Traffic(lab, *ends)
