"""Two hosts that predict ports: path machines, predictor, opened ports and splices, in memory."""

from random import Random

from nat.candidate import parse_candidate
from nat.gathering import HostAddress
from nat.machine import Datagram, Endpoint
from nat.path.credentials import Role
from nat.path.events import CandidatesChanged, Path, PathLost, PathSelected, PeerId, TraversalEvent
from nat.prediction.events import PortsDone, PortsWanted, PortWon, SpliceReleased
from nat.prediction.predictor import Predictor
from nat.prediction.splice import Splice
from nat.stun.message import is_stun
from nat.traversal import Traversal

from .nat import Nat
from .network import Host, SimNetwork, endpoint
from .peers import A, B, credentials_of
from .stun_server import StunServer

STUN_SERVERS = (endpoint("203.0.113.1", 3478), endpoint("203.0.113.2", 3478))

KEEPALIVE = b"\x04".ljust(32, b"\0")
"""An empty data message of WireGuard."""

WALL_OFFSET = 1_780_000_000.0
"""Seconds from the simulation's clock to the wall clock."""


class PredictingHost:
    """One side, as the agent puts it together. A `Machine`."""

    OBSERVE = 1.0
    KEEPALIVE = 25.0

    def __init__(
        self, base: Endpoint, role: Role, other: PeerId, nat: Nat | None, seed: int
    ) -> None:
        self.base = base
        self.role = role
        self.other = other
        self.rng = Random(seed)
        self.path: Path | None = None
        self.endpoint: Endpoint | None = None
        """Where WireGuard sends its keepalives to; it outlives the agent."""
        self.ports: dict[int, Endpoint] = {}
        self.kept: set[int] = set()
        self.splices: set[Splice] = set()
        self.can_splice = True
        self._keepalive_at = 0.0
        self._outbox: list[Datagram] = []
        self.host = Host(self, base, nat=nat)
        self.start(0.0)

    def start(self, now: float) -> None:
        """Begin anew with nothing but what the kernel remembers."""
        self.path = None
        self.ports.clear()
        self.traversal = Traversal(rng=self.rng, now=now)
        self.predictor = Predictor(rng=self.rng)
        self.predictor.set_able(True, now)
        self.predictor.adopt(tuple(self.splices), now)
        self.traversal.set_host_addresses([HostAddress(self.base, "eth0")], now)
        self.traversal.set_stun_servers(STUN_SERVERS, now)
        self._observe_at = now
        self._settle(now)

    def meet(self, other: "PredictingHost", now: float) -> None:
        """See the announcement of the other."""
        if self.other not in self.traversal.peers:
            credentials = credentials_of(self.role)
            self.traversal.add_peer(self.other, credentials=credentials, role=self.role, now=now)
            self.predictor.add_peer(self.other, credentials=credentials, role=self.role)
        announced = [parse_candidate(c.to_sdp()) for c in other.traversal.local_candidates]
        self.traversal.set_remote_candidates(self.other, announced, now)
        varies = other.traversal.mapping_varies
        self.predictor.set_remote(self.other, announced, varies=varies, now=now)
        self._settle(now)

    # Machine

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        if not is_stun(datagram.payload):
            return
        port, remote = datagram.destination.port, datagram.source
        if Splice(self.base, port, remote) in self.splices:
            arrived = Datagram(remote, self.base, datagram.payload)
            self.traversal.receive_datagram(arrived, now)
        elif datagram.destination == self.base:
            self.traversal.receive_datagram(datagram, now)
        elif self.ports.get(port) == remote:
            self.predictor.receive_datagram(datagram, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        if now >= self._observe_at:
            self._observe_at = now + self.OBSERVE
            self.predictor.set_wall_offset(WALL_OFFSET, now)
            for peer in self.predictor.spliced_peers:
                self.predictor.observe(peer, self.traversal.report(peer, now), now)
        if now >= self._keepalive_at:
            self._keepalive_at = now + self.KEEPALIVE
            if self.endpoint is not None:
                self._outbox.append(Datagram(self.base, self.endpoint, KEEPALIVE))
        self.traversal.handle_timeout(now)
        self.predictor.handle_timeout(now)
        self._settle(now)

    def next_timeout(self) -> float | None:
        times = [
            self._observe_at,
            self._keepalive_at,
            self.traversal.next_timeout(),
            self.predictor.next_timeout(),
        ]
        return min(time for time in times if time is not None)

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams = self.traversal.datagrams_to_send() + self.predictor.datagrams_to_send()
        datagrams += self._outbox
        self._outbox.clear()
        return [self._rewritten(datagram) for datagram in datagrams]

    def next_event(self) -> TraversalEvent | None:
        return None

    # The host

    def _rewritten(self, datagram: Datagram) -> Datagram:
        for splice in self.splices:
            if (datagram.source, datagram.destination) == (splice.base, splice.remote):
                source = Endpoint(self.base.ip, splice.port)
                return Datagram(source, datagram.destination, datagram.payload)
        return datagram

    def _settle(self, now: float) -> None:
        while (event := self.traversal.next_event()) is not None:
            match event:
                case CandidatesChanged(candidates=candidates):
                    varies = self.traversal.mapping_varies
                    self.predictor.set_local(candidates, varies=varies, now=now)
                case PathSelected(path=path):
                    self._use(path, now)
                case PathLost():
                    self._use(None, now)
                case _:
                    pass
        while (asked := self.predictor.next_event()) is not None:
            match asked:
                case PortsWanted(peer=peer, remote=remote, count=count):
                    picked = self.rng.sample(range(32768, 61000), count)
                    self.ports = dict.fromkeys(picked, remote)
                    self.predictor.ports_opened(peer, picked, now)
                case PortsDone():
                    self.ports.clear()
                case PortWon(peer=peer, splice=splice, check=check):
                    if self.can_splice:
                        self.splices.add(splice)
                        self.predictor.spliced(peer, splice, now)
                        self.traversal.receive_datagram(check, now)
                    else:
                        self.predictor.splice_failed(peer)
                case SpliceReleased(splice=splice):
                    self.splices.discard(splice)
            self._settle(now)
        ports = [*self.ports, *(splice.port for splice in self.splices)]
        self.host.addresses = (self.base, *(Endpoint(self.base.ip, port) for port in ports))

    def _use(self, path: Path | None, now: float) -> None:
        self.path = path
        self.endpoint = self.endpoint if path is None else path.remote.endpoint
        self.predictor.set_path(self.other, path, now)


class PredictingPair:
    """A behind one NAT, B behind another."""

    def __init__(self, nat_a: Nat | None, nat_b: Nat | None, *, seed: int = 1) -> None:
        servers = [Host(StunServer(), address) for address in STUN_SERVERS]
        self.network = SimNetwork(*servers, rng=Random(seed))
        self.a = self._add(Role.CONTROLLING, "192.168.1.2", B, nat_a, seed)
        self.b = self._add(Role.CONTROLLED, "192.168.7.3", A, nat_b, seed + 1)

    def meet(self, at: float = 1.0, *, b_late: float = 0.0) -> None:
        """Let each see the other's announcement."""
        self.network.at(at, lambda: self.a.meet(self.b, self.network.now))
        self.network.at(at + b_late, lambda: self.b.meet(self.a, self.network.now))

    def sent_by(self, host: PredictingHost, since: float = 0.0) -> list[Datagram]:
        """Return what a host has sent to the other's network since a time."""
        stun = set(STUN_SERVERS)
        return [
            sent.datagram
            for sent in self.network.sent_by(host.host, since)
            if sent.datagram.destination not in stun
        ]

    def _add(
        self, role: Role, ip: str, other: PeerId, nat: Nat | None, seed: int
    ) -> PredictingHost:
        machine = PredictingHost(endpoint(ip), role, other, nat, seed)
        self.network.add(machine.host)
        return machine
