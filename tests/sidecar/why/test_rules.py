"""Each reason is given when it holds, and NATs are blamed exactly when RFC 4787 forbids a path."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from integration.behaviour import Filtering as LabFiltering
from integration.behaviour import Mapping as LabMapping
from integration.behaviour import Udp
from integration.expectation import expected_paths
from integration.kinds import Cell, Kind, cells
from nat.candidate import CandidateType, local_candidate
from nat.path.events import Outcome, PairReport, PairState
from sidecar.status import PeerState
from sidecar.why.facts import Facts, Filtering, Mapping, Side, Source, Verdict
from sidecar.why.remedies import Remedy, advice
from sidecar.why.rules import RULES, explain

from ...support.network import endpoint

HERE, THERE = endpoint("192.168.1.2", 20000), endpoint("203.0.113.9", 30000)
V4 = frozenset({4})


def a_pair(
    outcome: Outcome = Outcome.NO_ANSWER,
    state: PairState = PairState.FAILED,
    *,
    heard: float | None = None,
    answered: float | None = None,
    kind: CandidateType = CandidateType.SERVER_REFLEXIVE,
) -> PairReport:
    return PairReport(
        local=HERE,
        remote=local_candidate(kind, THERE, THERE),
        state=state,
        selected=False,
        rtt=None,
        checks_sent=9,
        last_answer_age=answered,
        local_kind=CandidateType.HOST,
        mapped=None,
        heard_age=heard,
        outcome=outcome,
        outcome_age=1.0,
        error=None,
    )


def a_side(
    mapping: Mapping = Mapping.FIXED, filtering: Filtering = Filtering.BY_PORT, *, public: str = ""
) -> Side:
    seen = frozenset({ip_address(public)}) if public else frozenset()
    return Side(Verdict(mapping, filtering, Source.MEASURED), V4, seen)


PLAIN = Facts(
    state=PeerState.CHECKING,
    relayed=None,
    own=a_side(public="198.51.100.1"),
    peer=a_side(public="198.51.100.2"),
    pairs=(a_pair(),),
)
"""Two homes that should meet, and do not."""


def side_of(kind: Kind) -> Side:
    mapping = {
        LabMapping.NONE: Mapping.NONE,
        LabMapping.ADDRESS_AND_PORT_DEPENDENT: Mapping.VARIES,
    }.get(kind.nat.mapping, Mapping.FIXED)
    filtering = {
        LabFiltering.ENDPOINT_INDEPENDENT: Filtering.OPEN,
        LabFiltering.ADDRESS_DEPENDENT: Filtering.BY_ADDRESS,
        LabFiltering.ADDRESS_AND_PORT_DEPENDENT: Filtering.BY_PORT,
    }[kind.nat.filtering]
    verdict = Verdict(mapping, filtering, Source.MEASURED)
    return Side(verdict, V4, udp_blocked=kind.nat.udp is Udp.BLOCKED)


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_every_cell_of_the_grid_has_the_right_reason(cell: Cell) -> None:
    a, b = cell.a, cell.b
    code = explain(replace(PLAIN, own=side_of(a), peer=side_of(b))).code
    if expected_paths(a.nat, b.nat):
        assert code == "no-answer", "where the NATs allow a path they are not to blame"
    elif Udp.BLOCKED in (a.nat.udp, b.nat.udp):
        assert code == ("udp-blocked-here" if a.nat.udp is Udp.BLOCKED else "udp-blocked-there")
    else:
        expected = {
            (True, True): "mapping-varies-both",
            (True, False): "mapping-varies-here",
            (False, True): "mapping-varies-there",
        }
        assert code == expected[_varies(a), _varies(b)]


def _varies(kind: Kind) -> bool:
    return kind.nat.mapping is LabMapping.ADDRESS_AND_PORT_DEPENDENT


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(PLAIN, state=PeerState.CONNECTED, relayed=False), "direct"),
        (replace(PLAIN, state=PeerState.LEGACY), "legacy"),
        (replace(PLAIN, state=PeerState.UNANNOUNCED), "unannounced"),
        (replace(PLAIN, state=PeerState.SILENT, relayed=False), "silent"),
        (replace(PLAIN, state=PeerState.OPENING, relayed=False), "opening"),
        (replace(PLAIN, own=Side()), "no-candidates-here"),
        (replace(PLAIN, peer=Side()), "no-candidates-there"),
        (replace(PLAIN, peer=Side(families=frozenset({6}))), "no-common-family"),
        (replace(PLAIN, own=replace(PLAIN.own, udp_blocked=True)), "udp-blocked-here"),
        (replace(PLAIN, peer=replace(PLAIN.peer, udp_blocked=True)), "udp-blocked-there"),
        (
            replace(
                PLAIN, pairs=(a_pair(Outcome.DATA_UNANSWERED, PairState.VETOED, answered=1.0),)
            ),
            "data-blocked",
        ),
        (replace(PLAIN, pairs=(a_pair(Outcome.SEND_ERROR),) * 2), "cannot-send"),
        (replace(PLAIN, pairs=(a_pair(Outcome.REFUSED, answered=9.0),)), "refused"),
        (replace(PLAIN, pairs=(a_pair(heard=0.5),)), "one-way"),
        (
            replace(PLAIN, own=a_side(public="198.51.100.7"), peer=a_side(public="198.51.100.7")),
            "one-nat",
        ),
        (PLAIN, "no-answer"),
        (replace(PLAIN, pairs=()), "not-tried"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_reason_has_its_case(facts: Facts, code: str) -> None:
    assert explain(facts).code == code


def test_every_reason_can_be_given_and_has_a_code_of_its_own() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert all(rule.text.endswith(".") for rule in RULES)


def test_a_relayed_peer_is_explained_like_one_without_a_path() -> None:
    forbidden = replace(PLAIN, own=a_side(Mapping.VARIES), peer=a_side())
    relayed = replace(forbidden, state=PeerState.CONNECTED, relayed=True)
    assert explain(relayed).code == explain(forbidden).code == "mapping-varies-here"


def test_a_relayed_pair_that_works_does_not_hide_why_the_direct_ones_do_not() -> None:
    works = a_pair(Outcome.ANSWERED, PairState.VALID, answered=0.1, kind=CandidateType.RELAYED)
    facts = replace(PLAIN, state=PeerState.CONNECTED, relayed=True, pairs=(works, a_pair()))
    assert explain(facts).code == "no-answer"


def test_filtering_that_nobody_knows_counts_as_the_usual_one() -> None:
    facts = replace(
        PLAIN,
        own=a_side(Mapping.VARIES, Filtering.UNKNOWN),
        peer=a_side(filtering=Filtering.UNKNOWN),
    )
    assert explain(facts).code == "mapping-varies-here"


def test_a_mapped_port_acquits_the_nats() -> None:
    own = replace(a_side(Mapping.VARIES), mapped=True)
    assert explain(replace(PLAIN, own=own)).code == "no-answer"


def test_advice_names_our_port_and_leaves_out_what_is_done() -> None:
    remedies = (Remedy.PUBLISH_HERE, Remedy.PREDICTION, Remedy.RELAY)
    assert advice(remedies, PLAIN, 20000) == (
        "forward or publish UDP port 20000 of this host, or use host networking",
        "set KBWG_PORT_PREDICTION=on on both sides",
        "name a TURN server, so that there is a path at all",
    )
    done = replace(PLAIN, prediction=True, relays=True)
    assert len(advice(remedies, done, 20000)) == 1


def test_who_is_relayed_already_is_told_of_no_relay() -> None:
    remedies = (Remedy.SECOND_FAMILY, Remedy.DUAL_STACK_RELAY, Remedy.RELAY_OVER_TLS)
    assert len(advice(remedies, PLAIN, 20000)) == 3
    assert len(advice(remedies, replace(PLAIN, relayed=True), 20000)) == 1
