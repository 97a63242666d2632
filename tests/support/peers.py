"""Two traversals in a simulated internet, and what RFC 4787 says about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from nat.candidate import Candidate, CandidateType, parse_candidate
from nat.gathering import HostAddress
from nat.machine import Datagram, Endpoint
from nat.path.credentials import IceCredentials, Role
from nat.path.events import Path, PathSelected, PeerId, PeerReport
from nat.traversal import Traversal
from nat.turn.server import TurnServer

from .data_plane import Sidecar, WireGuard
from .nat import Filtering, Mapping, Nat
from .network import Host, SimNetwork, endpoint
from .relays import RelayLinks, TurnHost
from .stun_server import StunServer

A, B = PeerId("a"), PeerId("b")
STUN_SERVER = endpoint("203.0.113.1", 3478)
TWO_SERVERS = (STUN_SERVER, endpoint("203.0.113.2", 3478))

MEETING = 1.0
"""Seconds after the start when both announcements are seen; gathering is over by then."""


def credentials_of(role: Role) -> IceCredentials:
    """Both views of one pair of credentials; A is controlling."""
    a, b = ("ufrag-a", "password-of-a" * 2), ("ufrag-b", "password-of-b" * 2)
    return IceCredentials(*a, *b) if role is Role.CONTROLLING else IceCredentials(*b, *a)


@dataclass
class Node:
    """One side: its traversal and its host, and what it calls the other."""

    traversal: Traversal
    host: Host
    role: Role
    other: PeerId
    sidecar: Sidecar

    @property
    def wireguard(self) -> WireGuard:
        return self.sidecar.wireguard

    @property
    def links(self) -> RelayLinks:
        assert self.sidecar.links is not None
        return self.sidecar.links

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return self.traversal.local_candidates

    def report(self, now: float) -> PeerReport:
        return self.traversal.report(self.other, now)

    def path(self, now: float) -> Path | None:
        return self.report(now).path

    def selected_at(self) -> float | None:
        """When a path was first selected."""
        for at, event in zip(self.host.events_at, self.host.events, strict=True):
            if isinstance(event, PathSelected):
                return at
        return None


class Peers:
    """A (controlling) and B (controlled), each with a NAT of its own or sharing one.

    Args:
        nat_a: what A is behind; `None`: the open internet.
        nat_b: what B is behind.
        a: addresses of A.
        b: addresses of B.
        latency: seconds one way.
        loss: probability that a datagram vanishes.
        seed: of everything random.
        data: whether each has a WireGuard beside it.
        data_size: UDP payload of the largest packet; with it the width of paths is measured.
        servers: STUN servers; two tell whether a mapping is steady.
        turn: addresses of TURN servers in the internet.
        a_turn: the TURN servers that A is told of.
        b_turn: the TURN servers that B is told of.
    """

    def __init__(
        self,
        nat_a: Nat | None = None,
        nat_b: Nat | None = None,
        *,
        a: tuple[Endpoint, ...] = (),
        b: tuple[Endpoint, ...] = (),
        latency: float | Callable[[Datagram], float] = 0.02,
        loss: float = 0.0,
        seed: int = 1,
        data: bool = False,
        data_size: int | None = None,
        servers: Sequence[Endpoint] = (STUN_SERVER,),
        turn: Sequence[str] = (),
        a_turn: Sequence[TurnServer] = (),
        b_turn: Sequence[TurnServer] = (),
    ) -> None:
        self._data_size = data_size
        self._servers = servers
        self._data = data
        self._rng = Random(seed)
        self.network = SimNetwork(
            *(Host(StunServer(), server) for server in servers),
            latency=latency,
            loss=loss,
            rng=Random(seed + 1),
        )
        self.turn = {ip: TurnHost(self.network, ip) for ip in turn}
        a = a or (_inside(nat_a, "192.168.1.2", "192.0.2.10"),)
        b = b or (_inside(nat_b, "192.168.7.3", "192.0.2.20"),)
        self.a = self._node(Role.CONTROLLING, a, nat_a, B)
        self.b = self._node(Role.CONTROLLED, b, nat_b, A)
        for node, turn_servers in ((self.a, a_turn), (self.b, b_turn)):
            node.traversal.set_turn_servers(turn_servers, 0.0)

    def meet(self, at: float = MEETING, *, a_late: float = 0.0, b_late: float = 0.0) -> None:
        """Let each learn of the other at a time, one perhaps later."""
        self.network.at(at + a_late, lambda: self.introduce(self.a, self.b))
        self.network.at(at + b_late, lambda: self.introduce(self.b, self.a))

    def introduce(self, to: Node, whom: Node) -> None:
        """Let `to` see the announcement of `whom`; a first one makes it a peer."""
        now = self.network.now
        if to.other not in to.traversal.peers:
            to.traversal.add_peer(
                to.other, credentials=credentials_of(to.role), role=to.role, now=now
            )
        announced = [parse_candidate(candidate.to_sdp()) for candidate in whom.candidates]
        to.traversal.set_remote_candidates(to.other, announced, now)

    def restart(self, node: Node) -> None:
        """Start the agent of a node anew, with the same keys and addresses and nothing else."""
        now = self.network.now
        traversal = self._traversal(node.host.addresses, now)
        node.traversal = node.sidecar.traversal = traversal
        node.sidecar.agent_alive = True

    def run(self, until: float) -> None:
        self.network.run(until)

    @property
    def paths(self) -> tuple[Path | None, Path | None]:
        now = self.network.now
        return self.a.path(now), self.b.path(now)

    def _node(
        self,
        role: Role,
        addresses: tuple[Endpoint, ...],
        nat: Nat | None,
        other: PeerId,
    ) -> Node:
        traversal = self._traversal(addresses, 0.0)
        wireguard = WireGuard(addresses[0], opens=role is Role.CONTROLLING)
        links = RelayLinks(self.network, self.turn, addresses[0])
        sidecar = Sidecar(traversal, other, wireguard, links if self._data else None)
        host = Host(sidecar if self._data else traversal, *addresses, nat=nat)
        links.sidecar, links.host = sidecar, host
        self.network.add(host)
        return Node(traversal, host, role, other, sidecar)

    def _traversal(self, addresses: tuple[Endpoint, ...], now: float) -> Traversal:
        traversal = Traversal(rng=Random(self._rng.random()), now=now, data_size=self._data_size)
        bases = [HostAddress(address, f"eth{i}") for i, address in enumerate(addresses)]
        traversal.set_host_addresses(bases, now)
        traversal.set_stun_servers(self._servers, now)
        return traversal


def direct_path_possible(a: Nat | None, b: Nat | None) -> bool:
    """Whether two agents behind different NATs can reach each other (RFC 4787 §4.1, §5).

    Each learns the other's mapping towards the STUN server. If that is also the mapping towards
    the peer (`_fixed`) on both sides, each opens its own filter for the other. A side whose
    mapping depends on the destination comes from elsewhere: the other must let it in unseen.
    """
    if _fixed(a) and _fixed(b):
        return True
    if _fixed(a) or _fixed(b):
        return _admits_other_ports(a if _fixed(a) else b)
    # Neither knows where the other comes from: one must let in a stranger's first datagram, on the
    # mapping that it announced. From then on an answer must come from where the request went, so
    # one mapping must not depend on the port, and the other side's filter must not either.
    return Mapping.ADDRESS_DEPENDENT in (_mapping(a), _mapping(b)) and any(
        _admits_strangers(first) and _admits_other_ports(second)
        for first, second in ((a, b), (b, a))
    )


def expected_kind(a: Nat | None, b: Nat | None) -> CandidateType | None:
    """Return the kind of the path between two agents behind different NATs; `None`: none."""
    if not direct_path_possible(a, b):
        return None
    if not (_fixed(a) and _fixed(b)):
        return CandidateType.PEER_REFLEXIVE
    if any(nat is not None and nat.translates for nat in (a, b)):
        return CandidateType.SERVER_REFLEXIVE
    return CandidateType.HOST


def _mapping(nat: Nat | None) -> Mapping:
    return Mapping.NONE if nat is None else nat.mapping


def _fixed(nat: Nat | None) -> bool:
    return _mapping(nat) in (Mapping.NONE, Mapping.ONE_TO_ONE, Mapping.ENDPOINT_INDEPENDENT)


def _admits_other_ports(nat: Nat | None) -> bool:
    return (
        nat is None
        or nat.mapping is Mapping.ONE_TO_ONE
        or nat.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT
    )


def _admits_strangers(nat: Nat | None) -> bool:
    return (
        nat is None
        or nat.mapping is Mapping.ONE_TO_ONE
        or nat.filtering is Filtering.ENDPOINT_INDEPENDENT
    )


def _inside(nat: Nat | None, private: str, public: str) -> Endpoint:
    return endpoint(private if nat is not None and nat.translates else public)
