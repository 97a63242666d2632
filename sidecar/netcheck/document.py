"""The report of `kbwg netcheck`, and what it says in plain words."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from nat.candidate import CandidateType, parse_candidate

from ..nat_report import explain
from ..status import (
    NatStatus,
    PortMappingState,
    PortMappingStatus,
    RelayStatus,
    Status,
    StunServerStatus,
)
from .advice import advise


class Netcheck(BaseModel):
    """Everything that is known of this host's network."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    agent: bool
    """Whether a running agent tells, with the port that peers use; else a fresh port was tried."""

    port: int
    """The UDP port that was mapped or tried."""

    addresses: tuple[str, ...]
    """Local addresses that peers are told, best first."""

    stun: tuple[StunServerStatus, ...]
    turn: tuple[RelayStatus, ...] = ()
    """The TURN servers; empty: none is named."""

    nat: tuple[NatStatus, ...]
    port_mapping: tuple[PortMappingStatus, ...]
    port_mapping_off: bool
    """Whether the settings say that no gateway is to be asked."""

    udp_blocked: bool
    """Whether no STUN server answered, though some were asked."""

    verdicts: tuple[str, ...]
    """What it means, one sentence for each address that was tested."""

    advice: tuple[str, ...]
    """What would improve it, the most helpful first; empty: nothing needs to be done."""


def compose(
    *,
    agent: bool,
    port: int,
    addresses: Sequence[str],
    stun: Sequence[StunServerStatus],
    turn: Sequence[RelayStatus] = (),
    nat: Sequence[NatStatus],
    port_mapping: Sequence[PortMappingStatus],
    port_mapping_off: bool,
) -> Netcheck:
    """Draw the conclusions from what was found."""
    mapped = {
        mapping.internal.rpartition(":")[0].strip("[]")
        for mapping in port_mapping
        if mapping.state is PortMappingState.MAPPED and not mapping.behind_another_nat
    }
    udp_blocked = bool(stun) and all(server.mapped is None for server in stun)
    verdicts = [explain(one, mapped=one.address in mapped) for one in nat]
    if udp_blocked:
        verdicts = ["No STUN server answers: this network seems to block UDP."]
    return Netcheck(
        agent=agent,
        port=port,
        addresses=tuple(addresses),
        stun=tuple(stun),
        turn=tuple(turn),
        nat=tuple(nat),
        port_mapping=tuple(port_mapping),
        port_mapping_off=port_mapping_off,
        udp_blocked=udp_blocked,
        verdicts=tuple(verdicts),
        advice=advise(
            nat=nat,
            turn=turn,
            port_mapping=port_mapping,
            port_mapping_off=port_mapping_off,
            udp_blocked=udp_blocked,
            servers=len(stun),
            port=port if agent else None,
        ),
    )


def of_status(status: Status, *, port_mapping_off: bool) -> Netcheck:
    """Take the report out of a running agent's status document."""
    own = status.self_
    candidates = [parse_candidate(text) for text in own.candidates]
    return compose(
        agent=True,
        port=own.listen_port,
        addresses=[str(c.endpoint.ip) for c in candidates if c.type is CandidateType.HOST],
        stun=own.stun,
        turn=own.relays,
        nat=own.nat,
        port_mapping=own.port_mapping,
        port_mapping_off=port_mapping_off,
    )
