"""What port prediction asks of its owner, and how it describes itself."""

from dataclasses import dataclass
from enum import Enum

from ..machine import Datagram, Endpoint, IPAddress
from ..path.events import PeerId
from .side import Side
from .splice import Splice


@dataclass(frozen=True, slots=True)
class PortsWanted:
    """Open ports at a local address that hear nothing but STUN from `remote`.

    Answered by `Predictor.ports_opened`; what comes in there goes to `receive_datagram`.
    """

    peer: PeerId
    ip: IPAddress
    remote: Endpoint
    count: int


@dataclass(frozen=True, slots=True)
class PortsDone:
    """Close the ports that were opened for `peer`, but for one that was spliced."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PortWon:
    """Splice a port, then hand `check` to the path machines.

    Attributes:
        check: what has won, as if it had come in at the shared port.
    """

    peer: PeerId
    splice: Splice
    check: Datagram


@dataclass(frozen=True, slots=True)
class SpliceReleased:
    """A splice is of no use any more: undo it and close its port."""

    splice: Splice


PredictionEvent = PortsWanted | PortsDone | PortWon | SpliceReleased


class Outcome(Enum):
    """What became of the last try with a peer."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    NOTHING_MET = "no probe met an open port"
    NOT_POSSIBLE = "this host cannot open or splice ports"
    OVERTAKEN = "ended early: the peer or our network has changed"


@dataclass(frozen=True, slots=True)
class PredictionReport:
    """Port prediction with one peer, as shown to a person.

    Attributes:
        side: what we do; `None`: nothing, it does not help here.
        tries: campaigns so far.
        last_try_age: seconds since the last one began; `None`: none yet.
        outcome: of the last one.
        spliced_port: the local port that stands in for the shared one.
    """

    side: Side | None
    tries: int
    last_try_age: float | None
    outcome: Outcome | None
    spliced_port: int | None
