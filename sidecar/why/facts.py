"""What is known about both ends of a path, in the words of RFC 4787; unknown is a value."""

from dataclasses import dataclass, field
from enum import Enum

from nat.machine import IPAddress
from nat.path.events import PairReport

from ..status import PeerState


class Mapping(Enum):
    """How a NAT picks the public endpoint (RFC 4787 §4.1), as far as it matters here."""

    NONE = "no translation"
    FIXED = "endpoint-independent"
    VARIES = "varies with the destination"
    UNKNOWN = "unknown"


class Filtering(Enum):
    """From whom a NAT or firewall lets datagrams in (RFC 4787 §5)."""

    OPEN = "endpoint-independent"
    BY_ADDRESS = "address-dependent"
    BY_PORT = "address-and-port-dependent"
    UNKNOWN = "unknown"


class Source(Enum):
    """Where a verdict comes from."""

    MEASURED = "measured"
    ANNOUNCED = "announced by the peer"
    INFERRED = "inferred from the addresses"
    NOTHING = "nothing known yet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What stands between a host and the internet."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN
    source: Source = Source.NOTHING


@dataclass(frozen=True, slots=True)
class Side:
    """One end.

    Attributes:
        families: IP versions of its candidates, those at a relay aside.
        public: addresses at which its NAT, or it itself, is seen from outside.
        udp_blocked: whether no datagram seems to leave its network.
        mapped: whether its port is mapped or advertised, so that strangers get in.
    """

    verdict: Verdict = Verdict()
    families: frozenset[int] = frozenset()
    public: frozenset[IPAddress] = frozenset()
    udp_blocked: bool = False
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that an explanation may rest on.

    Attributes:
        state: of the peer.
        relayed: whether its selected path is relayed; `None`: no path is selected.
        own: our end.
        peer: the other.
        pairs: every pair that was formed, best first.
        relays: whether this host has a TURN server.
        prediction: whether port prediction is on here.
        prediction_tries: campaigns with this peer so far.
    """

    state: PeerState
    relayed: bool | None
    own: Side
    peer: Side
    pairs: tuple[PairReport, ...] = field(default=())
    relays: bool = False
    prediction: bool = False
    prediction_tries: int = 0

    @property
    def common_families(self) -> frozenset[int]:
        """IP versions that both ends have."""
        return self.own.families & self.peer.families

    @property
    def direct_pairs(self) -> tuple[PairReport, ...]:
        """The pairs that no relay would carry."""
        return tuple(
            pair
            for pair in self.pairs
            if "relay" not in (pair.local_kind.value, pair.remote.type.value)
        )
