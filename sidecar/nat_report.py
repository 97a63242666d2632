"""What was found of the NAT, as the status document has it and as a person understands it."""

from datetime import datetime
from typing import Final

from nat.stun.behaviour import BehaviourFound, ServerAnswer
from nat.stun.nat_behaviour import NatBehaviour

from .announcement import NatHint
from .status import NatStatus, StunServerStatus


def describe_nat(found: BehaviourFound, at: datetime) -> NatStatus:
    """Describe a NAT, tested at `at`."""
    behaviour = found.behaviour
    return NatStatus(
        address=str(found.base.ip),
        mapping=behaviour.mapping.value,
        filtering=behaviour.filtering.value,
        hairpinning=behaviour.hairpinning,
        port_preservation=behaviour.port_preservation,
        public_address=None if behaviour.public is None else str(behaviour.public),
        tested=at,
    )


def describe_server(answer: ServerAnswer) -> StunServerStatus:
    """Describe what became of a STUN server that was asked."""
    return StunServerStatus(
        server=str(answer.server),
        mapped=None if answer.mapped is None else str(answer.mapped),
        rtt_ms=None if answer.rtt is None else round(answer.rtt * 1000, 1),
        rfc5780=answer.rfc5780,
    )


def hint_of(behaviour: NatBehaviour | None, *, varies: bool) -> NatHint | None:
    """Return what peers are told of our NAT; `None`: nothing is known.

    Args:
        behaviour: what was found from fresh ports.
        varies: whether servers see our own port at several endpoints. That is what peers will meet,
            whatever was found elsewhere: a second host with our port behind one NAT, for example.
    """
    mapping = (
        None if behaviour is None or behaviour.mapping.fixed is None else behaviour.mapping.value
    )
    if varies and mapping not in VARYING:
        mapping = VARYING[-1]
    filtering = None if behaviour is None else behaviour.filtering.value
    if filtering == "unknown":
        filtering = None
    if mapping is None and filtering is None:
        return None
    return NatHint(mapping=mapping, filtering=filtering)


def explain(nat: NatStatus, *, mapped: bool) -> str:
    """Say in one sentence what a NAT means for its host.

    Args:
        nat: what was found.
        mapped: whether a gateway maps our port, so that anybody can send to it.
    """
    if mapped:
        return "The router maps our port: every peer that can send UDP reaches this host directly."
    if nat.mapping == "unknown":
        return "Not enough answers to tell what stands between this host and the internet."
    if nat.mapping == "none":
        return _WITHOUT_NAT[nat.filtering]
    if nat.mapping == "endpoint-independent":
        return _FRIENDLY[nat.filtering]
    return (
        "Each destination sees another port of ours (a symmetric NAT): direct paths only to peers "
        "that let strangers in, or by port prediction; relayed to the others."
    )


VARYING: Final = ("address-dependent", "destination-dependent", "address-and-port-dependent")
"""Mappings that show another endpoint to each destination; the worst is last."""

_WITHOUT_NAT: Final = {
    "endpoint-independent": "Open to the internet: every peer reaches this host directly.",
    "address-dependent": "No NAT, but a firewall that admits whoever we have sent to: direct paths "
    "to nearly all peers.",
    "address-and-port-dependent": "No NAT, but a firewall that admits only answers: direct paths to "
    "all peers but those behind a symmetric NAT.",
    "unknown": "No NAT; whether a firewall admits strangers is not known.",
}

_FRIENDLY: Final = {
    "endpoint-independent": "A NAT that lets everybody in: every peer reaches this host directly.",
    "address-dependent": "A NAT that admits whoever we have sent to: direct paths to nearly all "
    "peers, symmetric NATs included.",
    "address-and-port-dependent": "The NAT of most homes: direct paths to all peers but those behind "
    "a symmetric NAT or a network that blocks UDP.",
    "unknown": "A NAT that keeps one port for all destinations: direct paths to most peers.",
}
