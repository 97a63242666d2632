"""What the black-box tests of the mesh ask of a lab, in their own words."""

import time
from functools import partial
from itertools import permutations

from sidecar.status import PeerState, PeerStatus, Status

from .errors import CommandError
from .expectation import Ends
from .keybase_simulator.admin import SimulatorAdmin
from .lab import Lab
from .traffic import PORT, RATE, Traffic

TEAM = "acme.vpn"
TOPIC = "announce"

CONNECT_SECONDS = 20.0
"""Until a mesh must stand on a loaded machine; on an idle one it takes 3."""

ADDRESS_SECONDS = 10.0
"""Until an interface has the address that its agent has told; it takes milliseconds."""

NO_PATH_SECONDS = 8.0
"""How long no path must appear where none is expected: twice as long as every pair hunts fast."""


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


def path_between(lab: Lab, one: str, other: str) -> Ends | None:
    """Look at the path in use, if both agents are connected and show the same one."""
    ends = []
    for node, peer_node in ((one, other), (other, one)):
        try:
            status = lab.status(node)
        except CommandError:
            return None
        peers = [peer for peer in status.peers if peer.username == peer_node]
        if not peers or status.self_.ip is None or peers[0].state is not PeerState.CONNECTED:
            return None
        path = peers[0].path
        if path is None:
            return None
        ends.append(Ends(path.local.kind, path.remote.kind))
    seen_by_one, seen_by_other = ends
    return seen_by_one if seen_by_one == Ends(seen_by_other.b, seen_by_other.a) else None


def wait_for_path(
    lab: Lab, one: str, other: str, *expected: Ends, seconds: float = CONNECT_SECONDS
) -> None:
    """Wait until the path between two agents is one of these, at both ends."""
    lab.wait_for(
        lambda: path_between(lab, one, other) in expected,
        seconds,
        f"the path of {one} and {other} is {' or '.join(map(str, expected))}",
    )


def expect_no_path(lab: Lab, one: str, other: str, seconds: float = NO_PATH_SECONDS) -> None:
    """Watch two agents that know of each other, and see them find no path.

    Raises:
        AssertionError: they did.
    """
    lab.wait_for(
        lambda: all(
            any(peer.username == peer_node for peer in lab.status(node).peers)
            for node, peer_node in ((one, other), (other, one))
        ),
        CONNECT_SECONDS,
        f"{one} and {other} know of each other",
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = path_between(lab, one, other)
        assert found is None, f"{one} and {other} have a path, {found}"
        time.sleep(0.2)


def ping_all(lab: Lab, nodes: tuple[str, ...]) -> None:
    """Ping every pair through the tunnel, both ways, once all have their addresses."""
    addresses = {node: str(lab.status(node).self_.ip) for node in nodes}
    for node, ip in addresses.items():
        _wait_for_address(lab, node, ip)
    for source, target in permutations(nodes, 2):
        lab.exec(source, ["ping", "-c", "2", "-i", "0.2", "-W", "2", addresses[target]])


def wait_data(lab: Lab, nodes: tuple[str, ...], seconds: float = CONNECT_SECONDS) -> None:
    """Wait until data flows between every two: an interface has its address a little later."""

    def flows() -> bool:
        ping_all(lab, nodes)
        return True

    lab.wait_for(flows, seconds, f"data flows between {', '.join(nodes)}")


def traffic(lab: Lab, one: str, other: str, *, rate: float = RATE, port: int = PORT) -> Traffic:
    """Begin to count datagrams both ways through the tunnel; use it as a context."""
    addresses = {node: lab.status(node).self_.ip for node in (one, other)}
    ends = [(node, ip) for node, ip in addresses.items() if ip is not None]
    assert len(ends) == 2, f"{one} and {other} have addresses"
    for node, ip in ends:
        _wait_for_address(lab, node, str(ip))
    return Traffic(lab, *ends, rate=rate, port=port)


def _wait_for_address(lab: Lab, node: str, ip: str) -> None:
    """Wait until the interface has what the agent knows a moment before."""
    lab.wait_for(partial(_has_address, lab, node, ip), ADDRESS_SECONDS, f"{node} has {ip}")


def _has_address(lab: Lab, node: str, ip: str) -> bool:
    return f" {ip}/" in lab.exec(node, ["ip", "-oneline", "address"]).stdout
