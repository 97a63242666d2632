"""What an end's candidates say of the NAT before it, where nobody has measured that."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from nat.candidate import Candidate, CandidateType
from nat.gathering import GUESS_PREFERENCE
from nat.machine import IPAddress

from ..announcement import NatHint
from .facts import Filtering, Mapping, Side, Source, Verdict

TELLING_SERVERS: Final = 2
"""STUN servers that must agree before a mapping counts as the same for everybody."""


def own_side(
    candidates: Sequence[Candidate],
    *,
    varies: bool,
    answering: int,
    silent: int,
    mapped: bool,
    filtering: Filtering = Filtering.UNKNOWN,
) -> Side:
    """Return what we know of our own network.

    Args:
        candidates: ours.
        varies: whether STUN servers see different mapped addresses of one base.
        answering: STUN servers that answer.
        silent: STUN servers that do not.
        mapped: whether a gateway maps our port, or the operator advertises an endpoint.
        filtering: as it was found by RFC 5780.
    """
    mapping = Mapping.UNKNOWN
    if varies:
        mapping = Mapping.VARIES
    elif answering and not _reflexive(candidates):
        mapping = Mapping.NONE
    elif answering >= TELLING_SERVERS:
        mapping = Mapping.FIXED
    source = Source.NOTHING if mapping is Mapping.UNKNOWN else Source.MEASURED
    return Side(
        verdict=Verdict(mapping, filtering, source),
        families=_families(candidates),
        public=_public(candidates),
        udp_blocked=bool(silent) and not answering,
        mapped=mapped,
    )


_MAPPINGS: Final = {
    "none": Mapping.NONE,
    "endpoint-independent": Mapping.FIXED,
    "address-dependent": Mapping.VARIES,
    "address-and-port-dependent": Mapping.VARIES,
    "destination-dependent": Mapping.VARIES,
}
"""What a peer may say of its mapping; anything else says nothing."""

_FILTERINGS: Final = {filtering.value: filtering for filtering in Filtering}


def peer_side(candidates: Sequence[Candidate], hint: NatHint | None = None) -> Side:
    """Return what a peer tells of its network.

    Args:
        candidates: as it has announced them.
        hint: what it has announced of its NAT; what that leaves open follows from the candidates.
    """
    reflexive = _reflexive(candidates)
    ports: dict[IPAddress, set[int]] = defaultdict(set)
    for candidate in reflexive:
        ports[candidate.endpoint.ip].add(candidate.endpoint.port)
    mapping = Mapping.UNKNOWN
    if any(len(seen) > 1 for seen in ports.values()):
        mapping = Mapping.VARIES
    elif reflexive:
        mapping = Mapping.FIXED
    elif any(_is_public_host(candidate) for candidate in candidates):
        mapping = Mapping.NONE
    source = Source.NOTHING if mapping is Mapping.UNKNOWN else Source.INFERRED
    filtering = Filtering.UNKNOWN
    if hint is not None:
        filtering = _FILTERINGS.get(hint.filtering or "", filtering)
        if (said := _MAPPINGS.get(hint.mapping or "")) is not None:
            mapping, source = said, Source.ANNOUNCED
    known = mapping is not Mapping.UNKNOWN
    return Side(
        verdict=Verdict(mapping, filtering, source),
        families=_families(candidates),
        public=_public(candidates),
        udp_blocked=bool(candidates) and not known and not _relayed(candidates),
    )


def _families(candidates: Sequence[Candidate]) -> frozenset[int]:
    """Return the IP versions that a direct path could have: a relay has those of its own."""
    return frozenset(
        candidate.endpoint.ip.version
        for candidate in candidates
        if candidate.type is not CandidateType.RELAYED
    )


def _public(candidates: Sequence[Candidate]) -> frozenset[IPAddress]:
    return frozenset(candidate.endpoint.ip for candidate in _reflexive(candidates))


def _reflexive(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the measured ones: "mapped address, local port" is only a guess."""
    return [
        candidate
        for candidate in candidates
        if candidate.type is CandidateType.SERVER_REFLEXIVE
        and (candidate.priority >> 8) & 0xFFFF > GUESS_PREFERENCE
    ]


def _relayed(candidates: Sequence[Candidate]) -> bool:
    return any(candidate.type is CandidateType.RELAYED for candidate in candidates)


def _is_public_host(candidate: Candidate) -> bool:
    return candidate.type is CandidateType.HOST and not candidate.endpoint.ip.is_private
