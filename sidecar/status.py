"""The status document: what `kbwg status --json`, the control socket and the labs read.

`SCHEMA_VERSION` grows when a field changes its meaning or goes; new fields may come at any
time, so a reader ignores what it does not know. The JSON schema is published in
`sidecar/status.schema.json` and a test keeps both equal.
"""

from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 1

CandidateKind = Literal["host", "srflx", "prflx", "relay"]
"""Kind of a candidate (RFC 8839 §5.1); host < srflx < prflx < relay."""


class _Model(BaseModel):
    # Built when somebody asks for the first time: many agents are never asked.
    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, defer_build=True
    )


class PathEnd(_Model):
    """One end of a path."""

    kind: CandidateKind
    """How this end is reached by the other."""

    address: str
    """`ip:port` or `[ip]:port`, as the other end sees it."""


class PathStatus(_Model):
    """The selected candidate pair of a peer."""

    kind: CandidateKind
    """The worse of both ends, so that both sides report the same."""

    local: PathEnd
    remote: PathEnd

    rtt_ms: float | None
    """Smoothed round-trip time of the checks, in milliseconds; null before the second check."""

    relayed: bool


class PredictionStatus(_Model):
    """Port prediction with a peer: tried while there is no direct path and it could help."""

    side: Literal["hard", "easy"] | None
    """`hard`: our NAT maps each destination to another port; `easy`: the peer's does; null: it
    would not help any more."""

    tries: int
    """Campaigns so far."""

    last_try_seconds: float | None
    """How long ago the last one began."""

    outcome: str | None
    """What became of it, in words."""

    spliced_port: int | None
    """Local port that stands in for WireGuard's towards this peer."""


class PeerState(StrEnum):
    """What stands between us and a peer."""

    UNANNOUNCED = "unannounced"
    """Listed, but its agent has announced nothing that counts."""

    CHECKING = "checking"
    """Candidates known, no valid pair yet."""

    OPENING = "opening"
    """A path is selected, WireGuard's handshake is not complete."""

    CONNECTED = "connected"
    """A path is selected and WireGuard has a live session."""

    SILENT = "silent"
    """Data flows, but the far agent answers no checks: it is down, its kernel is not."""

    LOST = "lost"
    """There was a path; no candidate pair is valid at present."""

    LEGACY = "legacy"
    """A predecessor's device: one announced endpoint, no checks."""


class PeerStatus(_Model):
    """One other device of the mesh."""

    username: str
    device: str
    ip: IPv4Address | None
    """Overlay address; null while none is known."""

    ip6: IPv6Address | None = None
    """Overlay IPv6 address, derived from `ip`; null for a legacy peer, which has none."""

    public_key: str | None
    """WireGuard public key in base64; null while unannounced."""

    state: PeerState
    path: PathStatus | None
    endpoint: str | None
    """Where WireGuard sends to at present; the kernel roams by itself."""

    rx_bytes: int
    tx_bytes: int
    last_handshake: datetime | None

    prediction: PredictionStatus | None = None
    """Port prediction; null where it has no part in this."""

    mtu: int | None = None
    """Bytes of the largest packet that reaches it through the tunnel in one piece, as far as is
    known: the interface's MTU, or less on a narrower path; null while unannounced."""


class PortMappingState(StrEnum):
    """What has become of a port mapping."""

    SEARCHING = "searching"
    """The gateway is being asked."""

    MAPPED = "mapped"
    """The gateway takes datagrams for us."""

    RESTING = "resting"
    """The gateway maps nothing; it is asked again later."""

    RELEASING = "releasing"
    """The agent ends."""


class PortMappingStatus(_Model):
    """The mapping of WireGuard's port at one gateway."""

    gateway: str
    interface: str
    state: PortMappingState
    found: tuple[Literal["pcp", "nat-pmp", "upnp"], ...]
    """Protocols in which the gateway has answered."""

    protocol: Literal["pcp", "nat-pmp", "upnp"] | None
    """In which the mapping was made; null without one."""

    internal: str
    """Our side of it, `ip:port` or `[ip]:port`."""

    external: str | None
    """Where the gateway takes datagrams for us; null without a mapping."""

    behind_another_nat: bool
    """Whether the external address is a private one: the gateway itself is behind a NAT."""

    expires_in_seconds: int | None
    refusal: str | None
    """Why the gateway makes no mapping, if it said so."""


class NatStatus(_Model):
    """What stands between an address of this host and the internet (RFC 4787, found by RFC 5780).

    Found from fresh ports, so a port mapping or a static forward of our own port is not in it.
    """

    address: str
    """The local address that was tested."""

    mapping: Literal[
        "none",
        "endpoint-independent",
        "address-dependent",
        "address-and-port-dependent",
        "destination-dependent",
        "unknown",
    ]
    """RFC 4787 §4.1; `destination-dependent`: one of the two before it, no server could tell."""

    filtering: Literal[
        "endpoint-independent", "address-dependent", "address-and-port-dependent", "unknown"
    ]
    """RFC 4787 §5; of the firewall where nothing is translated."""

    hairpinning: bool | None
    """RFC 4787 §6; null: not known, or nothing is translated."""

    port_preservation: bool | None
    """RFC 4787 §4.2.1; null likewise."""

    public_address: str | None
    """Our address as servers see it."""

    tested: datetime


class StunServerStatus(_Model):
    """What a STUN server answered when the NAT was last looked at."""

    server: str
    mapped: str | None
    """Where it saw us, `ip:port` or `[ip]:port`; null: it did not answer."""

    rtt_ms: float | None
    rfc5780: bool
    """Whether it can answer from another address, so that filtering can be tested."""


class RelayStatus(_Model):
    """A TURN server."""

    server: str
    """As the operator named it."""

    relayed: tuple[str, ...]
    """Relayed addresses of ours there; none: it stands by, or does not serve us."""

    rtt_ms: float | None
    """Round-trip time in milliseconds, as last measured; null: it never answered."""

    trouble: str | None
    """Why it does not serve us; null: it does, or stands by."""


class SelfStatus(_Model):
    """The device that reports."""

    username: str
    device: str
    ip: IPv4Address | None
    """Overlay address; null while none is claimed yet."""

    ip6: IPv6Address | None = None
    """Overlay IPv6 address, derived from `ip`; null also where this host has IPv6 disabled."""

    public_key: str
    listen_port: int
    candidates: tuple[str, ...]
    """Our candidates as announced (RFC 8839 §5.1 without `candidate:`), best first."""

    nat: tuple[NatStatus, ...] = ()
    """One entry for each IP family that was tested, IPv4 first; empty until then."""

    stun: tuple[StunServerStatus, ...] = ()
    """Each STUN server, when the NAT was last looked at."""

    port_mapping: tuple[PortMappingStatus, ...] = ()
    """Of WireGuard's port, one entry for each gateway; empty where it is off."""

    relays: tuple[RelayStatus, ...] = ()
    """TURN servers that are named."""

    backend: Literal["kernel", "userspace"]
    interface: str
    team: str
    subnet: str


class Severity(StrEnum):
    """How much a health entry matters to an operator."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class HealthEntry(_Model):
    """A condition that an operator should know of."""

    code: str
    """Stable, machine-readable: `stun-unreachable`, `kbfs-unreadable`, …"""

    severity: Severity
    text: str
    """What is wrong and what would mend it, in one sentence."""

    since: datetime


class Status(_Model):
    """Everything about one agent, at one moment."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=True
    )

    version: int = SCHEMA_VERSION
    """Of this schema."""

    agent_version: str
    started: datetime
    self_: SelfStatus = Field(alias="self")
    peers: tuple[PeerStatus, ...]
    health: tuple[HealthEntry, ...]
    counters: dict[str, int] = Field(default_factory=dict)
    """Things dropped or retried since the start, by reason; every key is documented in
    `sidecar/LOGGING.md`."""
