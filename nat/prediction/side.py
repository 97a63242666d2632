"""Who plays which side of a campaign, and towards which address: decided alike by both ends."""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from ..candidate import Candidate, CandidateType
from ..machine import IPAddress

MAX_ADDRESSES: Final = 2
"""Public addresses of the hard side that are probed. A NAT with a pool that is not "paired"
(RFC 4787 §4.1, REQ-2) has several, and the probes are shared among them."""

IP_VERSION: Final = 4
"""NATs with port translation are a matter of IPv4; RFC 6296 keeps the ports of IPv6."""


class Side(Enum):
    """What an end does in a campaign."""

    HARD = "hard"
    """Its NAT's mapping depends on the destination: opens many ports."""

    EASY = "easy"
    """Its mapping is known to the other: checks many ports of the other's address."""


def side_of(*, own_varies: bool, peer_varies: bool) -> Side | None:
    """Return our side; `None`: no campaign helps.

    Two mappings that do not vary meet by ordinary checks. Two that do would take 170,000 probes
    for an even chance: they are left to a relay.
    """
    if own_varies == peer_varies:
        return None
    return Side.HARD if own_varies else Side.EASY


def target_of(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the easy side's candidate that probes come from; both ends choose the same one.

    The best server-reflexive one, since that is its public address if it has another; a host
    without a NAT announces its host addresses only.
    """
    usable = [c for c in candidates if c.endpoint.ip.version == IP_VERSION]
    for kind in (CandidateType.SERVER_REFLEXIVE, CandidateType.HOST):
        found = [c for c in usable if c.type is kind]
        if found:
            return max(found, key=lambda c: c.priority)
    return None


def public_addresses(candidates: Sequence[Candidate]) -> tuple[IPAddress, ...]:
    """Return the hard side's public addresses: those that it has announced as reflexive."""
    ranked = sorted(candidates, key=lambda c: -c.priority)
    reflexive = (
        c.endpoint.ip
        for c in ranked
        if c.type is CandidateType.SERVER_REFLEXIVE and c.endpoint.ip.version == IP_VERSION
    )
    return tuple(dict.fromkeys(reflexive))[:MAX_ADDRESSES]


def hard_base(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the hard side's candidate whose base opens the ports: the one behind its best NAT."""
    reflexive = [
        c
        for c in candidates
        if c.type is CandidateType.SERVER_REFLEXIVE and c.endpoint.ip.version == IP_VERSION
    ]
    return max(reflexive, key=lambda c: c.priority, default=None)
