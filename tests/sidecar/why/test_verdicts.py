"""What candidates say of a NAT, and what they do not."""

import pytest

from nat.candidate import CandidateType, local_candidate, parse_candidate
from nat.gathering import GUESS_PREFERENCE
from nat.machine import Endpoint
from sidecar.announcement import NatHint
from sidecar.why.facts import Filtering, Mapping, Source
from sidecar.why.verdicts import own_side, peer_side

from ...support.network import endpoint

BASE = endpoint("192.168.1.2", 20000)
PUBLIC = endpoint("198.51.100.1", 42000)
HOST = local_candidate(CandidateType.HOST, BASE, BASE)
GLOBAL_HOST = local_candidate(
    CandidateType.HOST, endpoint("8.8.4.4", 20000), endpoint("8.8.4.4", 20000)
)
GUESS = local_candidate(
    CandidateType.SERVER_REFLEXIVE, Endpoint(PUBLIC.ip, 20000), BASE, GUESS_PREFERENCE
)


REFLEXIVE = local_candidate(CandidateType.SERVER_REFLEXIVE, PUBLIC, BASE)
OTHER_PORT = local_candidate(CandidateType.SERVER_REFLEXIVE, Endpoint(PUBLIC.ip, 42001), BASE)


@pytest.mark.parametrize(
    ("candidates", "varies", "answering", "mapping"),
    [
        ((HOST, REFLEXIVE, GUESS), False, 2, Mapping.FIXED),
        ((HOST, REFLEXIVE, GUESS), False, 1, Mapping.UNKNOWN),
        ((HOST, REFLEXIVE, OTHER_PORT), True, 2, Mapping.VARIES),
        ((HOST,), False, 1, Mapping.NONE),
        ((HOST,), False, 0, Mapping.UNKNOWN),
    ],
    ids=["two servers agree", "one server", "they differ", "seen as it is", "no server"],
)
def test_our_own_nat_is_what_stun_servers_see(
    candidates: tuple[object, ...], varies: bool, answering: int, mapping: Mapping
) -> None:
    side = own_side(candidates, varies=varies, answering=answering, silent=0, mapped=False)  # type: ignore[arg-type]
    assert side.verdict.mapping is mapping
    assert side.verdict.filtering is Filtering.UNKNOWN, "nobody has measured it"
    assert (side.verdict.source is Source.NOTHING) == (mapping is Mapping.UNKNOWN)


def test_udp_is_blocked_if_servers_are_asked_and_none_answers() -> None:
    def blocked(answering: int, silent: int) -> bool:
        return own_side(
            (HOST,), varies=False, answering=answering, silent=silent, mapped=False
        ).udp_blocked

    assert blocked(0, 2)
    assert not blocked(1, 1)
    assert not blocked(0, 0), "no server is named, or none has had its time"


def test_a_peer_is_known_by_what_it_announces() -> None:
    parsed = [parse_candidate(c.to_sdp()) for c in (HOST, REFLEXIVE, GUESS)]
    side = peer_side(parsed)
    assert side.verdict.mapping is Mapping.FIXED
    assert side.verdict.source is Source.INFERRED
    assert side.public == {PUBLIC.ip}
    assert side.families == {4}
    assert peer_side([HOST, REFLEXIVE, OTHER_PORT]).verdict.mapping is Mapping.VARIES
    assert peer_side([GLOBAL_HOST]).verdict.mapping is Mapping.NONE


def test_a_peer_that_nobody_outside_has_seen_has_no_udp() -> None:
    assert peer_side([HOST]).udp_blocked
    assert not peer_side([GLOBAL_HOST]).udp_blocked
    assert not peer_side([]).udp_blocked, "it has announced nothing at all"


@pytest.mark.parametrize(
    ("hint", "mapping", "filtering", "source"),
    [
        (
            NatHint(mapping="destination-dependent", filtering="address-and-port-dependent"),
            Mapping.VARIES,
            Filtering.BY_PORT,
            Source.ANNOUNCED,
        ),
        (
            NatHint(mapping="none", filtering="endpoint-independent"),
            Mapping.NONE,
            Filtering.OPEN,
            Source.ANNOUNCED,
        ),
        (
            NatHint(filtering="address-dependent"),
            Mapping.FIXED,
            Filtering.BY_ADDRESS,
            Source.INFERRED,
        ),
        (
            NatHint(mapping="banana", filtering="banana"),
            Mapping.FIXED,
            Filtering.UNKNOWN,
            Source.INFERRED,
        ),
        (None, Mapping.FIXED, Filtering.UNKNOWN, Source.INFERRED),
    ],
)
def test_what_a_peer_says_of_its_nat_goes_before_what_we_infer(
    hint: NatHint | None, mapping: Mapping, filtering: Filtering, source: Source
) -> None:
    verdict = peer_side([HOST, REFLEXIVE], hint).verdict
    assert (verdict.mapping, verdict.filtering, verdict.source) == (mapping, filtering, source)


def test_a_peer_that_knows_its_nat_has_udp() -> None:
    assert not peer_side([HOST], NatHint(mapping="none")).udp_blocked


def test_the_address_of_a_relay_is_no_family_of_the_host() -> None:
    at_relay = endpoint("2001:db8::9", 50000)
    relayed = local_candidate(CandidateType.RELAYED, at_relay, at_relay)
    assert peer_side([HOST, relayed]).families == {4}
    assert not peer_side([HOST, relayed]).udp_blocked, "something of it gets out"
