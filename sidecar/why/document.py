"""The document behind `kbwg why PEER --json`, and how it is put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pydantic import BaseModel, ConfigDict

from nat.candidate import Candidate
from nat.path.events import PairReport, PeerReport

from ..announcement import NatHint
from ..status import CandidateKind, PathStatus, PeerState, PeerStatus
from .facts import Facts, Side
from .preference import preference
from .remedies import advice
from .rules import explain
from .verdicts import peer_side


class _Model(BaseModel):
    # Built when somebody asks for the first time: many agents are never asked.
    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )


class WhyPair(_Model):
    """A candidate pair that was tried."""

    local: str
    """Our end, `ip:port` or `[ip]:port`: the address that checks leave from."""

    local_kind: CandidateKind
    """How the peer sees our end."""

    mapped: str | None
    """Where the peer saw it come from, if it has answered."""

    remote: str
    remote_kind: CandidateKind
    state: str
    """In the words of RFC 8445 §6.1.2.6, besides `valid` and `vetoed`."""

    selected: bool
    outcome: str
    """What became of it last."""

    outcome_seconds: float | None
    """How long ago that was."""

    error: str | None
    """Why this host did not send the last check."""

    rtt_ms: float | None
    checks_sent: int
    heard_seconds: float | None
    """How long ago a check of the peer last came in on it."""


class WhySide(_Model):
    """What is known of the network of one end."""

    mapping: str
    filtering: str
    source: str
    """Where that comes from."""

    ip_versions: tuple[int, ...]
    public_addresses: tuple[str, ...]
    port_mapped: bool
    udp_blocked: bool


class Why(_Model):
    """Why a peer is reached the way it is."""

    username: str
    device: str
    ip: IPv4Address | None
    ip6: IPv6Address | None
    state: PeerState
    path: PathStatus | None
    mtu: int | None
    preferred: str | None
    """Why the selected pair is preferred to the others that work."""

    here: WhySide
    there: WhySide
    code: str
    """The reason, for programs."""

    reason: str
    """The reason, for people."""

    advice: tuple[str, ...]
    """What would make the path direct, or make one at all."""

    listen_port: int
    pairs: tuple[WhyPair, ...]
    """Every pair that was formed, best first."""


@dataclass(frozen=True, slots=True)
class PeerDetail:
    """A peer as the mesh knows it.

    Attributes:
        report: its path machine's; `None`: there is none.
        candidates: as announced.
        nat: what it has announced of its NAT; `None`: nothing.
    """

    status: PeerStatus
    report: PeerReport | None = None
    candidates: tuple[Candidate, ...] = ()
    nat: NatHint | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What an explanation needs to know of this host."""

    side: Side
    listen_port: int
    relays: bool
    prediction: bool


def find(details: Sequence[PeerDetail], text: str) -> PeerDetail:
    """Find the peer that a person means: by name, name/device, overlay address or key.

    Raises:
        LookupError: none or several; says which there are.
    """
    wanted = text.strip().lower()
    names = [f"{detail.status.username}/{detail.status.device}" for detail in details]
    found = [detail for detail in details if _is_meant(detail.status, wanted)]
    if not found:
        raise LookupError(f"no peer {text}; there are {', '.join(names) or 'none'}")
    if len(found) > 1:
        several = ", ".join(f"{d.status.username}/{d.status.device}" for d in found)
        raise LookupError(f"{text} may be any of {several}")
    return found[0]


def describe(detail: PeerDetail, here: Here) -> Why:
    """Put the document of a peer together."""
    status = detail.status
    pairs = () if detail.report is None else detail.report.pairs
    facts = Facts(
        state=status.state,
        relayed=None if status.path is None else status.path.relayed,
        own=here.side,
        peer=peer_side(detail.candidates, detail.nat),
        pairs=pairs,
        relays=here.relays,
        prediction=here.prediction,
        prediction_tries=0 if status.prediction is None else status.prediction.tries,
    )
    rule = explain(facts)
    return Why(
        username=status.username,
        device=status.device,
        ip=status.ip,
        ip6=status.ip6,
        state=status.state,
        path=status.path,
        mtu=status.mtu,
        preferred=preference(pairs),
        here=_side(facts.own),
        there=_side(facts.peer),
        code=rule.code,
        reason=rule.text + _trying(facts),
        advice=advice(rule.remedies, facts, here.listen_port),
        listen_port=here.listen_port,
        pairs=tuple(_pair(pair) for pair in pairs),
    )


def _is_meant(status: PeerStatus, wanted: str) -> bool:
    names = {status.username.lower(), f"{status.username}/{status.device}".lower()}
    addresses = {str(ip) for ip in (status.ip, status.ip6) if ip is not None}
    key = (status.public_key or "").lower()
    return wanted in names | addresses or (len(wanted) >= 4 and key.startswith(wanted))


def _trying(facts: Facts) -> str:
    if not facts.prediction_tries:
        return ""
    return f" Port prediction has tried {facts.prediction_tries} times and goes on."


def _side(side: Side) -> WhySide:
    return WhySide(
        mapping=side.verdict.mapping.value,
        filtering=side.verdict.filtering.value,
        source=side.verdict.source.value,
        ip_versions=tuple(sorted(side.families)),
        public_addresses=tuple(sorted(str(ip) for ip in side.public)),
        port_mapped=side.mapped,
        udp_blocked=side.udp_blocked,
    )


def _pair(pair: PairReport) -> WhyPair:
    return WhyPair(
        local=str(pair.local),
        local_kind=pair.local_kind.value,
        mapped=None if pair.mapped is None else str(pair.mapped),
        remote=str(pair.remote.endpoint),
        remote_kind=pair.remote.type.value,
        state=pair.state.value,
        selected=pair.selected,
        outcome=pair.outcome.value,
        outcome_seconds=_rounded(pair.outcome_age),
        error=pair.error,
        rtt_ms=None if pair.rtt is None else round(pair.rtt * 1000, 3),
        checks_sent=pair.checks_sent,
        heard_seconds=_rounded(pair.heard_age),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
