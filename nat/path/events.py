"""What the path machines tell their owner, and what the owner tells them.

A path is a candidate pair as WireGuard uses it. `PeerId` is opaque here.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NewType

from ..candidate import Candidate, CandidateType
from ..machine import Endpoint
from ..turn.events import RelayEvent

PeerId = NewType("PeerId", str)
"""The owner's name for a remote agent; never looked into."""


@dataclass(frozen=True, slots=True)
class Path:
    """A valid candidate pair, selected for a peer's data.

    Attributes:
        local: our end as the peer sees it: the mapped address of the valid pair
            (RFC 8445 §7.2.5.3.2), with the kind of candidate that it is.
        base: the local transport address that datagrams leave from.
        remote: the peer's end: where datagrams are sent.
        data_endpoint: where the data plane has to send to: the remote address; where our own relay
            carries the data, the loopback endpoint that its channel is plugged into.
    """

    local: Candidate
    base: Endpoint
    remote: Candidate
    data_endpoint: Endpoint

    @property
    def kind(self) -> CandidateType:
        """The worse of both ends (host < srflx < prflx < relay): the same on both sides."""
        return max(self.local.type, self.remote.type, key=lambda kind: kind.rank)

    @property
    def plugged(self) -> bool:
        """Whether our own relay carries the data, through a plug of the data plane."""
        return self.data_endpoint != self.remote.endpoint

    @property
    def relayed(self) -> bool:
        """Whether a relay carries the data."""
        return self.kind is CandidateType.RELAYED


class LossReason(Enum):
    """Why a path is not used any more."""

    CHECKS_UNANSWERED = "checks unanswered"
    DATA_UNANSWERED = "data unanswered while checks pass"
    ADDRESS_GONE = "local address gone"
    PEER_GONE = "peer removed"


@dataclass(frozen=True, slots=True)
class PathSelected:
    """`path` is the best valid pair of `peer`: send its data there. May follow another."""

    peer: PeerId
    path: Path
    previous: Path | None


@dataclass(frozen=True, slots=True)
class PathLost:
    """`path` was selected and no other pair is valid. Checking goes on."""

    peer: PeerId
    path: Path
    reason: LossReason


@dataclass(frozen=True, slots=True)
class PathReasserted:
    """The data went to an endpoint that does not answer, or by mistake: send it to `path` again."""

    peer: PeerId
    path: Path
    disputed: Endpoint


@dataclass(frozen=True, slots=True)
class PathMtuChanged:
    """The path of `peer` carries UDP payloads of `limit` bytes in one piece.

    `None`: as large as the data plane makes them, or nothing else is known yet.
    """

    peer: PeerId
    limit: int | None


@dataclass(frozen=True, slots=True)
class EvidenceWanted:
    """The selected pair of `peer` is in doubt: report now what the data plane has seen of it."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class CandidatesChanged:
    """Our own candidates have changed and should be announced, best first."""

    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class StunServerChanged:
    """A STUN server began or ceased to answer."""

    server: Endpoint
    reachable: bool


TraversalEvent = (
    PathSelected
    | PathLost
    | PathReasserted
    | PathMtuChanged
    | EvidenceWanted
    | CandidatesChanged
    | StunServerChanged
    | RelayEvent
)


@dataclass(frozen=True, slots=True)
class DataReport:
    """What the data plane has seen of one peer; the strongest evidence that there is.

    Attributes:
        endpoint: where it sends to at present; it may have roamed by itself.
        received_bytes: authenticated bytes received, ever; a value lower than before is a
            new session.
        sent_bytes: bytes sent, ever.
        handshake_age: seconds since the last completed handshake; `None`: none yet.
    """

    endpoint: Endpoint | None
    received_bytes: int
    sent_bytes: int
    handshake_age: float | None


class PairState(Enum):
    """State of a candidate pair (RFC 8445 §6.1.2.6), plus what we add."""

    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    VALID = "valid"
    FAILED = "failed"
    VETOED = "vetoed"


class Outcome(Enum):
    """What became of a pair last."""

    UNTRIED = "not checked yet"
    PENDING = "check under way"
    ANSWERED = "answered"
    NO_ANSWER = "no answer"
    REFUSED = "refused by the peer"
    DATA_UNANSWERED = "data unanswered"
    SEND_ERROR = "cannot be sent"


@dataclass(frozen=True, slots=True)
class PairReport:
    """One candidate pair as shown to a person: `kbwg status` and `kbwg why`.

    Attributes:
        local: the base that checks leave from.
        local_kind: how the peer sees our end; before the first answer, how it may see it.
        mapped: our end as the peer saw it in its last answer.
        heard_age: seconds since a check of the peer last came in on it; `None`: never.
        outcome: what became of it last.
        outcome_age: seconds since then.
        error: what our own host said, where it did not send.
        rtt: smoothed round-trip time in seconds; `None`: never measured.
        last_answer_age: seconds since the last check of it was answered; `None`: never.
    """

    local: Endpoint
    remote: Candidate
    state: PairState
    selected: bool
    rtt: float | None
    checks_sent: int
    last_answer_age: float | None
    local_kind: CandidateType
    mapped: Endpoint | None
    heard_age: float | None
    outcome: Outcome
    outcome_age: float | None
    error: str | None


class Activity(Enum):
    """What a peer's path is doing."""

    WAITING = "waiting"
    """No remote candidates, or none of our own."""

    CHECKING = "checking"
    """Candidates known, no valid pair yet."""

    CONNECTED = "connected"
    """A pair is selected and answers checks."""

    SILENT = "silent"
    """Data flows on the selected pair, but the far agent answers no checks."""

    LOST = "lost"
    """There was a selected pair; none is valid at present."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    """One peer's path machine as shown to a person."""

    activity: Activity
    path: Path | None
    rtt: float | None
    pairs: tuple[PairReport, ...]
