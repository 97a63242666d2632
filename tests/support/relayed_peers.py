"""Two hosts behind NATs with TURN servers between them, and traffic."""

from collections.abc import Callable

from nat.candidate import CandidateType
from nat.machine import Datagram
from nat.path.events import Path
from nat.turn.server import TurnServer, TurnTransport

from .nat import Filtering, Mapping, Nat
from .peers import STUN_SERVER, Node, Peers
from .relays import turn_server

NEAR, FAR = "203.0.113.50", "203.0.113.60"
"""Addresses of the two TURN servers."""

UDP, TCP, TLS = (turn_server(NEAR, transport) for transport in TurnTransport)
NATS = ("198.51.100.1", "198.51.100.2")
LATENCY = 0.02
TRAFFIC = 0.02
"""Seconds between data packets."""

RELAY, PORT_RESTRICTED = CandidateType.RELAYED, Filtering.ADDRESS_AND_PORT_DEPENDENT

KINDS: dict[str, Callable[[str], Nat | None]] = {
    "open": lambda ip: None,
    "cone": lambda ip: Nat(ip, Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT),
    "port-restricted": lambda ip: Nat(ip, Mapping.ENDPOINT_INDEPENDENT, PORT_RESTRICTED),
    "symmetric": lambda ip: Nat(ip, Mapping.ADDRESS_AND_PORT_DEPENDENT, PORT_RESTRICTED),
    "firewall": lambda ip: Nat(ip, Mapping.NONE, PORT_RESTRICTED),
}


def relayed_peers(
    kind_a: str,
    kind_b: str,
    *,
    a_turn: tuple[TurnServer, ...] = (UDP,),
    b_turn: tuple[TurnServer, ...] = (),
    latency: float | Callable[[Datagram], float] = LATENCY,
    seed: int = 1,
) -> Peers:
    """Let two meet, each behind a kind of NAT and with TURN servers of its own."""
    peers = Peers(
        KINDS[kind_a](NATS[0]),
        KINDS[kind_b](NATS[1]),
        turn=(NEAR, FAR),
        a_turn=a_turn,
        b_turn=b_turn,
        data=True,
        latency=latency,
        seed=seed,
    )
    peers.meet()
    return peers


def block_udp(peers: Peers, node: Node) -> Callable[[], None]:
    """Let no datagram of a node through; return what lifts that again."""
    ips = {address.ip for address in node.host.addresses}
    if node.host.nat is not None:
        ips.add(node.host.nat.public_ip)
    return peers.network.block(lambda d: d.source.ip in ips or d.destination.ip in ips)


def block_direct(peers: Peers) -> Callable[[], None]:
    """Let only datagrams to and from servers through; return what lifts that again."""
    servers = {str(STUN_SERVER.ip), NEAR, FAR}
    return peers.network.block(lambda d: not {str(d.source.ip), str(d.destination.ip)} & servers)


def kinds(peers: Peers) -> list[CandidateType | None]:
    """Return the kinds of both selected paths."""
    return [None if path is None else path.kind for path in peers.paths]


def both(peers: Peers) -> tuple[Path, Path]:
    """Return both selected paths, of which neither may be missing."""
    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    return path_a, path_b


def hops(path: Path) -> int:
    """Count the relays on a path."""
    return [path.local.type, path.remote.type].count(RELAY)
