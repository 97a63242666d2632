"""The document, whom it is about, and how it looks on a slide."""

from dataclasses import replace
from io import StringIO
from ipaddress import ip_address

import pytest
from rich.console import Console

from nat.candidate import CandidateType, local_candidate
from nat.machine import Endpoint
from nat.path.events import Activity, Outcome, PairReport, PairState, PeerReport
from sidecar.status import PathEnd, PathStatus, PeerState, PeerStatus
from sidecar.why.document import Here, PeerDetail, Why, describe, find
from sidecar.why.facts import Filtering, Mapping, Side, Source, Verdict
from sidecar.why.preference import preference
from sidecar.why.table import render

from ...support.network import endpoint

BASE = endpoint("192.168.1.10", 12811)
BASE6 = endpoint("2001:db8:a::10", 12811)


def a_status(username: str, device: str, ip: str, key: str) -> PeerStatus:
    return PeerStatus(
        username=username,
        device=device,
        ip=ip_address(ip),
        public_key=key,
        state=PeerState.CHECKING,
        path=None,
        endpoint=None,
        rx_bytes=0,
        tx_bytes=0,
        last_handshake=None,
    )


DETAILS = (
    PeerDetail(a_status("bob", "desktop", "100.64.7.2", "jc+Ipv9/W4B6WD=")),
    PeerDetail(a_status("bob", "phone", "100.64.7.3", "Xc+Ipv9/W4B6WD=")),
    PeerDetail(a_status("carol", "laptop", "100.64.7.4", "Yc+Ipv9/W4B6WD=")),
)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("carol", "laptop"),
        ("Bob/Phone", "phone"),
        ("100.64.7.2", "desktop"),
        ("jc+I", "desktop"),
        (" yc+ipv9 ", "laptop"),
    ],
)
def test_a_peer_is_found_by_name_address_or_key(text: str, device: str) -> None:
    assert find(DETAILS, text).status.device == device


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bob", "bob may be any of bob/desktop, bob/phone"),
        ("dave", "no peer dave; there are bob/desktop, bob/phone, carol/laptop"),
        ("jc", "no peer jc"),
        ("", "no peer"),
    ],
)
def test_whom_nobody_or_several_fit_is_an_error_that_names_them(text: str, says: str) -> None:
    with pytest.raises(LookupError, match=says):
        find(DETAILS, text)


def a_pair(
    remote: Endpoint,
    *,
    base: Endpoint = BASE,
    rtt: float | None = None,
    selected: bool = False,
    kind: CandidateType = CandidateType.SERVER_REFLEXIVE,
    outcome: Outcome = Outcome.NO_ANSWER,
    age: float = 2.0,
    error: str | None = None,
) -> PairReport:
    return PairReport(
        local=base,
        remote=local_candidate(kind, remote, remote),
        state=PairState.FAILED if rtt is None else PairState.VALID,
        selected=selected,
        rtt=rtt,
        checks_sent=12,
        last_answer_age=None if rtt is None else age,
        local_kind=CandidateType.HOST,
        mapped=None,
        heard_age=None,
        outcome=Outcome.ANSWERED if rtt is not None else outcome,
        outcome_age=age,
        error=error,
    )


HERE = Here(
    side=Side(
        Verdict(Mapping.VARIES, Filtering.UNKNOWN, Source.MEASURED),
        frozenset({4, 6}),
        frozenset({ip_address("198.18.100.2")}),
    ),
    listen_port=12811,
    relays=False,
    prediction=True,
)

REMOTE = endpoint("198.18.113.2", 57492)
ANNOUNCED = (
    local_candidate(CandidateType.HOST, endpoint("192.168.2.10", 19216), BASE),
    local_candidate(CandidateType.SERVER_REFLEXIVE, REMOTE, BASE),
    local_candidate(CandidateType.SERVER_REFLEXIVE, Endpoint(REMOTE.ip, 3879), BASE),
)


def a_why() -> Why:
    pairs = (
        a_pair(endpoint("192.168.2.10", 19216), kind=CandidateType.HOST, age=260.0),
        a_pair(REMOTE),
        a_pair(
            endpoint("2001:db8:b::10", 19216),
            base=BASE6,
            outcome=Outcome.SEND_ERROR,
            error="ENETUNREACH",
        ),
    )
    report = PeerReport(Activity.CHECKING, None, None, pairs)
    return describe(replace(DETAILS[0], report=report, candidates=ANNOUNCED), HERE)


def rendered(why: Why, width: int) -> list[str]:
    out = StringIO()
    render(why, Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_reason_stands_with_both_ends_and_what_helps() -> None:
    why = a_why()
    assert why.code == "mapping-varies-both"
    assert why.here.source == "measured"
    assert why.there.source == "inferred from the addresses"
    assert why.advice[0] == (
        "forward or publish one side's UDP port (here 12811), or use host networking"
    )
    assert Why.model_validate_json(why.model_dump_json()) == why


SLIDE = """\
bob/desktop 100.64.7.2 checking
here   IPv4 and IPv6, NAT: mapping varies with the destination, filtering unknown (measured)
there  IPv4, NAT: mapping varies with the destination, filtering unknown (inferred from the
       addresses)
why    Both NATs give every destination another port, so neither host can tell the other where to
       send.
try    - forward or publish one side's UDP port (here 12811), or use host networking
       - turn on port mapping (PCP, NAT-PMP or UPnP) on either router
       - name a TURN server, so that there is a path at all

  here (port 12811)   there                        last result                         rtt sent
  host 192.168.1.10   host 192.168.2.10:19216      no answer 4 min ago                   -   12
  host 192.168.1.10   srflx 198.18.113.2:57492     no answer 2 s ago                     -   12
  host 2001:db8:a::10 srflx [2001:db8:b::10]:19216 cannot be sent: ENETUNREACH 2 s ago   -   12
"""


def test_it_is_readable_on_a_slide() -> None:
    assert rendered(a_why(), 100) == SLIDE.splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    lines = rendered(a_why(), width)
    assert max(len(line) for line in lines) <= width
    text = "".join("".join(lines).split())
    assert "…" not in text
    for whole in ("2001:db8:a::10", "198.18.113.2:57492", "ENETUNREACH"):
        assert whole in text


def test_a_good_path_is_told_in_a_few_lines() -> None:
    pairs = (
        a_pair(endpoint("192.168.2.10", 19216), rtt=0.002, selected=True, kind=CandidateType.HOST),
        a_pair(REMOTE, rtt=0.0145),
    )
    path = PathStatus(
        kind="host",
        local=PathEnd(kind="host", address=str(BASE)),
        remote=PathEnd(kind="host", address="192.168.2.10:19216"),
        rtt_ms=2.0,
        relayed=False,
    )
    status = DETAILS[0].status.model_copy(
        update={"state": PeerState.CONNECTED, "path": path, "mtu": 1420}
    )
    report = PeerReport(Activity.CONNECTED, None, 0.002, pairs)
    why = describe(PeerDetail(status, report, ANNOUNCED), HERE)

    assert why.code == "direct"
    assert not why.advice
    lines = rendered(why, 80)
    assert lines[:3] == [
        "bob/desktop 100.64.7.2 connected",
        "path    direct, host, 2.0 ms, packets to 1420 bytes",
        "chosen  It is the fastest: 2.0 ms against 14.5 ms.",
    ]
    assert lines[-2].startswith("* host 192.168.1.10")
    assert not any(line.startswith("why") for line in lines)


def test_the_preference_is_told_as_selection_has_it() -> None:
    lan = a_pair(endpoint("192.168.2.10"), rtt=0.002, selected=True, kind=CandidateType.HOST)
    near = a_pair(REMOTE, rtt=0.003)
    relayed = a_pair(REMOTE, rtt=0.001, kind=CandidateType.RELAYED)
    hairpin = a_pair(REMOTE, rtt=0.003, selected=True)

    assert preference([lan]) == "It is the only pair that works."
    assert preference([lan, a_pair(REMOTE)]) == "It is the only pair that works."
    assert preference([lan, relayed]) == "It needs fewer relays than the others that work."
    assert "of the better kind" in (preference([lan, near]) or "")
    assert "would gain nothing" in (preference([hairpin, replace(lan, selected=False)]) or "")
    assert preference([near]) is None
