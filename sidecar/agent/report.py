"""What the agent says of itself: its conditions and its status document."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Network
from typing import Final

from nat.machine import Endpoint
from nat.traversal import Traversal
from nat.turn.events import Trouble
from nat.turn.relay import RelayReport

from ..health import Condition, Health
from ..mesh.mesh import Mesh
from ..nat_report import VARYING, explain
from ..settings import Settings
from ..status import (
    NatStatus,
    PortMappingState,
    PortMappingStatus,
    RelayStatus,
    SelfStatus,
    StunServerStatus,
)
from ..wireguard.backend import BackendName
from .start import Started

TURN_LOGIN: Final = (
    ": set KBWG_TURN_USERNAME and KBWG_TURN_PASSWORD, or KBWG_TURN_SECRET, to what it knows"
)
"""What mends refused credentials."""

DIRECTORY_CONDITIONS = (
    Condition.PEERS_FILE_ENTRY,
    Condition.NOT_LISTED,
    Condition.DUPLICATE_DEVICE,
    Condition.DUPLICATE_KEY,
    Condition.ADDRESS_CONTESTED,
    Condition.GUESTS_CAN_WRITE,
)
"""Conditions that the directory finds, and nobody else."""


def note_conditions(
    health: Health,
    *,
    mesh: Mesh,
    traversal: Traversal,
    nat: Sequence[NatStatus],
    port_mapping: Sequence[PortMappingStatus],
    subnet: IPv4Network,
    backend: BackendName,
    families: AbstractSet[int],
    now: datetime,
) -> None:
    """Bring the conditions that are read off, rather than reported, up to date."""
    used = {candidate.base.ip.version for candidate in traversal.local_candidates}
    health.replace(
        Condition.SHARED_PORT_LIMITED,
        [
            (str(v), f"no path over IPv{v} can be checked: there is no socket on WireGuard's port")
            for v in sorted(used - families)
        ],
        now=now,
    )
    for condition in DIRECTORY_CONDITIONS:
        cases = [(subject, text) for c, subject, text in mesh.conditions if c is condition]
        health.replace(condition, cases, now=now)
    health.replace(
        Condition.STUN_UNREACHABLE,
        [
            (str(server), f"the STUN server {server} does not answer")
            for server, answers in traversal.stun_servers.items()
            if answers is False
        ],
        now=now,
    )
    health.replace(
        Condition.NAT_VARIES,
        [(n.address, explain(n, mapped=False)) for n in nat if _hard(n, port_mapping)],
        now=now,
    )
    note_relays(health, traversal.turn_servers, now=now)
    blocked = udp_blocked(traversal.stun_servers, traversal.turn_servers)
    health.replace(Condition.UDP_BLOCKED, [] if blocked is None else [("", blocked)], now=now)
    present = {
        Condition.NO_CANDIDATES: not traversal.local_candidates,
        Condition.NO_ADDRESS: mesh.loaded and mesh.own_ip is None,
        Condition.ADDRESSES_EXHAUSTED: mesh.exhausted,
        Condition.USERSPACE_TWO_FAMILIES: backend == "userspace" and len(mesh.families) > 1,
    }
    texts = {
        Condition.NO_CANDIDATES: "this host has no address that a peer could send to",
        Condition.NO_ADDRESS: "our claim of an overlay address has not been read back yet",
        Condition.ADDRESSES_EXHAUSTED: (f"no address of {subnet} is free: choose a larger subnet"),
        Condition.USERSPACE_TWO_FAMILIES: (
            "wireguard-go loses IPv6 packets on a host whose peers use both IPv4 and IPv6: load "
            "the kernel's module (modprobe wireguard)"
        ),
    }
    for condition, text in texts.items():
        health.replace(condition, [("", text)] if present[condition] else [], now=now)


def _hard(nat: NatStatus, port_mapping: Sequence[PortMappingStatus]) -> bool:
    mapped = any(m.state is PortMappingState.MAPPED for m in port_mapping)
    return nat.mapping in VARYING and not mapped


def note_relays(health: Health, relays: Sequence[RelayReport], *, now: datetime) -> None:
    """Say which TURN servers do not serve us by any transport, and why."""
    serving = {relay.server.host for relay in relays if relay.relayed}
    lacking = [r for r in relays if r.trouble is not None and r.server.host not in serving]
    for condition, troubles, remedy in (
        (Condition.TURN_UNREACHABLE, (Trouble.UNREACHABLE, Trouble.DISCONNECTED), ""),
        (Condition.TURN_CREDENTIALS, (Trouble.CREDENTIALS,), TURN_LOGIN),
    ):
        cases = [
            (str(r.server), f"the TURN server {r.server} {r.trouble.value}{remedy}")
            for r in lacking
            if r.trouble is not None and r.trouble in troubles
        ]
        health.replace(condition, cases, now=now)
    plain = (Trouble.UNREACHABLE, Trouble.DISCONNECTED, Trouble.CREDENTIALS)
    health.replace(
        Condition.TURN_REFUSES,
        [
            (str(r.server), f"the TURN server {r.server} {r.trouble.value}")
            for r in lacking
            if r.trouble is not None and r.trouble not in plain
        ],
        now=now,
    )


def udp_blocked(
    stun_servers: Mapping[Endpoint, bool | None], relays: Sequence[RelayReport]
) -> str | None:
    """Say that this host does not get through; `None`: a server answers, or relays, or none is named."""
    answered = any(a is not False for a in stun_servers.values()) or any(
        relay.relayed for relay in relays
    )
    if not stun_servers or answered:
        return None
    remedy = "name a TURN server behind TLS in KBWG_TURN_SERVERS (turns:HOST:443)"
    if relays:
        remedy = "and no TURN server relays for us either"
    return f"no STUN server answers, so UDP is probably blocked: {remedy}"


def relay_statuses(relays: Sequence[RelayReport]) -> tuple[RelayStatus, ...]:
    """Describe the TURN servers for the status document."""
    return tuple(
        RelayStatus(
            server=str(relay.server),
            relayed=tuple(str(endpoint) for endpoint in relay.relayed),
            rtt_ms=None if relay.rtt is None else round(relay.rtt * 1000, 3),
            trouble=None if relay.trouble is None else relay.trouble.value,
        )
        for relay in relays
    )


def describe_self(
    settings: Settings,
    started: Started,
    *,
    mesh: Mesh,
    traversal: Traversal,
    nat: tuple[NatStatus, ...],
    stun: tuple[StunServerStatus, ...],
    port_mapping: tuple[PortMappingStatus, ...],
    has_ipv6: bool,
) -> SelfStatus:
    """Describe this device for the status document; `has_ipv6`: its interface may have IPv6."""
    identity = started.identity
    return SelfStatus(
        username=identity.username,
        device=identity.device,
        ip=mesh.own_ip,
        ip6=mesh.own_ip6 if has_ipv6 else None,
        public_key=str(identity.private_key.public_key),
        listen_port=identity.listen_port,
        candidates=tuple(c.to_sdp() for c in traversal.local_candidates),
        nat=nat,
        stun=stun,
        port_mapping=port_mapping,
        relays=relay_statuses(traversal.turn_servers),
        backend=started.backend.name,
        interface=settings.interface,
        team=settings.team,
        subnet=str(settings.subnet),
    )


def merge_counters(sources: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Put the counters of every part into one mapping, by `part-name`."""
    return {
        f"{part}-{name}": count
        for part, counters in sorted(sources.items())
        for name, count in sorted(counters.items())
    }


def agent_version() -> str:
    """Return the installed version."""
    try:
        return version("kbwg")
    except PackageNotFoundError:
        return "unknown"
