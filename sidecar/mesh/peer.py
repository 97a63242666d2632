"""One other device, as the mesh drives it: its key, its path, its WireGuard peer."""

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network

from nat.candidate import Candidate, CandidateType
from nat.path.credentials import IceCredentials, Role
from nat.path.events import Activity, DataReport, Path, PeerId, PeerReport
from nat.prediction.events import PredictionReport

from ..announcement import NatHint
from ..identity import NodeId, PublicKey
from ..status import PathEnd, PathStatus, PeerState, PeerStatus, PredictionStatus
from ..tunnel_mtu import peer_mtu
from ..wireguard.device import PeerConfig, PeerRoute
from ..wireguard.device import PeerState as DevicePeer
from ..wireguard.endpoint_rules import EndpointRules
from ..wireguard.routes import Flow


@dataclass(slots=True)
class Dialogue:
    """What the path machine of a peer needs.

    Attributes:
        role: who nominates and opens.
        candidates: the peer's, as last announced.
        proposed: relayed ones that it has named to us alone since then.
        mapping_varies: whether the peer has announced that its NAT's mapping varies.
        nat: what the peer has announced of its NAT.
        started: whether there is a path machine.
    """

    role: Role
    credentials: IceCredentials
    candidates: tuple[Candidate, ...] = ()
    proposed: tuple[Candidate, ...] = ()
    mapping_varies: bool = False
    nat: NatHint | None = None
    started: bool = False


@dataclass(slots=True)
class Peer:
    """A device whose announcement counts.

    Attributes:
        dialogue: `None` for a legacy peer, which answers no checks.
        announced_id: message id of the announcement that is in force.
        payload_limit: bytes of UDP payload that its path carries; `None`: whatever is sent.
        observed: the WireGuard peer as last read; `None`: not configured yet.
        flow: where its data is to leave and to go; `None`: no matter.
        moves: how many flows had changed when this one last did, its own included.
        reached: whether there is a path to it at present.
    """

    node: NodeId
    public_key: PublicKey
    rules: EndpointRules
    dialogue: Dialogue | None
    ip: IPv4Address | None = None
    ip6: IPv6Address | None = None
    announced_id: int = 0
    payload_limit: int | None = None
    observed: DevicePeer | None = None
    flow: Flow | None = None
    moves: int = 0
    reached: bool = False
    _config: PeerConfig | None = field(default=None, init=False, repr=False)

    @property
    def id(self) -> PeerId:
        """The name under which the path machines know it."""
        return peer_id(self.public_key)

    @property
    def legacy(self) -> bool:
        """Whether it announces as the predecessor does."""
        return self.dialogue is None

    @property
    def started(self) -> bool:
        """Whether there is a path machine for it."""
        return self.dialogue is not None and self.dialogue.started

    @property
    def config(self) -> PeerConfig:
        """What WireGuard should know of it. Without an address nothing is routed to it yet."""
        if self._config is None:
            networks = (ip_network(ip) for ip in (self.ip, self.ip6) if ip is not None)
            self._config = PeerConfig(self.public_key, frozenset(networks))
        return self._config

    def set_addresses(self, ip: IPv4Address | None, ip6: IPv6Address | None) -> bool:
        """Take its overlay addresses; tells whether they are others than before."""
        if (ip, ip6) == (self.ip, self.ip6):
            return False
        self.ip, self.ip6, self._config = ip, ip6, None
        return True

    def routes(self, mtu: int) -> tuple[PeerRoute, ...]:
        """Return the routes that a path narrower than the interface's `mtu` needs."""
        narrow = peer_mtu(self.payload_limit, mtu)
        if narrow == mtu:
            return ()
        return tuple(PeerRoute(network, narrow) for network in self.config.allowed_ips)

    def observe(self, observed: DevicePeer | None, wall: datetime, now: float) -> DataReport | None:
        """Take in what the back end reports and return it as evidence for the path machine."""
        self.observed = observed
        age = None
        if observed is not None and observed.last_handshake is not None:
            # A clock set back must not make a session look eternally young.
            age = abs((wall - observed.last_handshake).total_seconds())
        self.rules.observe(observed, age, now)
        if observed is None:
            return None
        return DataReport(observed.endpoint, observed.rx_bytes, observed.tx_bytes, age)

    def status(
        self,
        report: PeerReport | None,
        prediction: PredictionStatus | None = None,
        *,
        mtu: int,
    ) -> PeerStatus:
        """Describe it.

        Args:
            report: its path machine's; `None`: there is none.
            prediction: what port prediction does about it, if that has a part in it.
            mtu: the interface's.
        """
        observed = self.observed
        endpoint = None if observed is None or observed.endpoint is None else observed.endpoint
        return PeerStatus(
            username=self.node.username,
            device=self.node.device,
            ip=self.ip,
            ip6=self.ip6,
            public_key=str(self.public_key),
            state=self._state(report),
            path=None if report is None else path_status(report),
            endpoint=None if endpoint is None else str(endpoint),
            rx_bytes=0 if observed is None else observed.rx_bytes,
            tx_bytes=0 if observed is None else observed.tx_bytes,
            last_handshake=None if observed is None else observed.last_handshake,
            prediction=prediction,
            mtu=peer_mtu(self.payload_limit, mtu),
        )

    def _state(self, report: PeerReport | None) -> PeerState:
        if self.legacy:
            return PeerState.LEGACY
        match Activity.WAITING if report is None else report.activity:
            case Activity.CONNECTED:
                return PeerState.CONNECTED if self.rules.live else PeerState.OPENING
            case Activity.SILENT:
                return PeerState.SILENT
            case Activity.LOST:
                return PeerState.LOST
            case Activity.WAITING | Activity.CHECKING:
                # After a restart the kernel's session may live on while its agent is away.
                return PeerState.SILENT if self.rules.live else PeerState.CHECKING


def peer_id(key: PublicKey) -> PeerId:
    """Return the name of a key's holder among the path machines."""
    return PeerId(str(key))


def flow_of(path: Path) -> Flow | None:
    """Return how a path leaves this host; `None`: by a relay, which has routes of its own."""
    if path.local.type is CandidateType.RELAYED:
        return None
    return Flow(path.base.ip, path.remote.endpoint.ip)


def path_status(report: PeerReport) -> PathStatus | None:
    """Describe the selected path of a report, if there is one."""
    path = report.path
    if path is None:
        return None
    return PathStatus(
        kind=path.kind.value,
        local=PathEnd(kind=path.local.type.value, address=str(path.local.endpoint)),
        remote=PathEnd(kind=path.remote.type.value, address=str(path.remote.endpoint)),
        rtt_ms=None if report.rtt is None else round(report.rtt * 1000, 3),
        relayed=path.relayed,
    )


def prediction_status(report: PredictionReport) -> PredictionStatus | None:
    """Describe what port prediction does for a peer; `None`: nothing, and it never did."""
    if report.side is None and report.tries == 0 and report.spliced_port is None:
        return None
    return PredictionStatus(
        side=None if report.side is None else report.side.value,
        tries=report.tries,
        last_try_seconds=None if report.last_try_age is None else round(report.last_try_age, 1),
        outcome=None if report.outcome is None else report.outcome.value,
        spliced_port=report.spliced_port,
    )


def describe(path: Path) -> dict[str, str]:
    """Return the log fields of a path (`sidecar/LOGGING.md`)."""
    return {
        "path": path.kind.value,
        "local": f"{path.local.type.value} {path.local.endpoint}",
        "remote": f"{path.remote.type.value} {path.remote.endpoint}",
    }
