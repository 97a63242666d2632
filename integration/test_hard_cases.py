"""Networks that a pair of NATs alone does not describe: forwards, accepting gateways, bad lines."""

import time

import pytest

from .behaviour import Input, Mapping, Nat
from .conftest import Labs
from .expectation import Ends
from .kinds import KINDS
from .mesh import peer_of, ping_all, traffic, wait_for_path

BOTH = ("alice", "bob")

SYMMETRIC = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)
ACCEPTING = Nat(input=Input.ACCEPT)

PUBLISHED = {"NAT_A_PUBLISHED": "4711", "LISTEN_PORT_A": "4711"}
"""As `docker run --publish 4711:4711/udp` does, on a host that accepts what is sent to itself."""


ENTRY_SECONDS = 100.0
"""Until what an accepting gateway has taken for its own is forgotten (30 s without a datagram),
should the very first ones have come too early; tried again up to twice."""


@pytest.mark.parametrize("kind", ["PUB", "MQ", "SY"])
def test_a_published_port_is_reached_as_behind_a_full_cone(labs: Labs, kind: str) -> None:
    lab = labs.up(
        "pair.yaml", {**ACCEPTING.settings("NAT_A"), **KINDS[kind].settings("B"), **PUBLISHED}
    )
    theirs = {"PUB": "host", "MQ": "srflx", "SY": "prflx"}[kind]
    wait_for_path(lab, *BOTH, Ends("srflx", theirs))
    assert peer_of(lab.status("bob"), "alice").endpoint == "198.18.100.2:4711"
    ping_all(lab, BOTH)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param({}, id="guessed: the address that STUN sees, and our own port"),
        pytest.param(
            {"STUN_SERVERS": "198.18.0.99:3478", "ADVERTISE_A": "198.18.100.2:4711"},
            id="KBWG_ADVERTISE, and no STUN server",
        ),
    ],
)
def test_a_static_forward_leads_through_the_worst_nat(labs: Labs, told: dict[str, str]) -> None:
    lab = labs.up(
        "pair.yaml", {**SYMMETRIC.settings("NAT_A"), "PORT_PREDICTION": "off", **PUBLISHED, **told}
    )
    # Of bob's port nobody has told where no STUN server is.
    wait_for_path(lab, *BOTH, Ends("srflx", "srflx"), Ends("srflx", "prflx"))
    assert peer_of(lab.status("bob"), "alice").endpoint == "198.18.100.2:4711"
    ping_all(lab, BOTH)


@pytest.mark.parametrize("kind", ["PUB", "ONE", "FC", "AR"])
def test_behind_an_accepting_gateway_one_is_reached_by_who_lets_strangers_in(
    labs: Labs, kind: str
) -> None:
    lab = labs.up("pair.yaml", {**ACCEPTING.settings("NAT_A"), **KINDS[kind].settings("B")})
    theirs = "host" if kind == "PUB" else "srflx"
    # The gateway changes the port if the other's check has come first.
    wait_for_path(lab, *BOTH, Ends("prflx", theirs), Ends("srflx", theirs))
    ping_all(lab, BOTH)


@pytest.mark.parametrize("theirs", [Nat(), ACCEPTING], ids=["MQ", "MQ-in"])
def test_even_two_port_filters_meet_if_gateways_accept(labs: Labs, theirs: Nat) -> None:
    """Each side's first datagrams die on the way, so that no gateway takes them for its own."""
    lab = labs.up(
        "pair.yaml",
        {**ACCEPTING.settings("NAT_A"), **theirs.settings("NAT_B"), "PORT_PREDICTION": "off"},
    )
    wait_for_path(lab, *BOTH, Ends("srflx", "srflx"), seconds=ENTRY_SECONDS)
    ping_all(lab, BOTH)


def test_where_udp_is_blocked_a_relay_is_reached_over_tls(labs: Labs) -> None:
    lab = labs.up("udp-blocked.yaml")
    wait_for_path(lab, *BOTH, Ends("relay", "srflx"))
    ping_all(lab, BOTH)
    with traffic(lab, *BOTH) as flow:
        time.sleep(2)
        report = flow.stop()
    assert report.lost_count == 0


DELAY_MS, JITTER_MS, LOSS_PERCENT = 70, 60, 2
"""200 ms of round-trip time on average, in which packets overtake each other."""

BAD_LINE = {
    "DELAY_MS": str(DELAY_MS),
    "JITTER_MS": str(JITTER_MS),
    "LOSS_PERCENT": str(LOSS_PERCENT),
}

BAD_LINE_SECONDS = 3.0
"""Until the direct path stands on such a line; `tests/sidecar/wireguard/test_first_handshake.py` has
10,000 of them, which need half a second less."""

BAD_LINE_LOST = 3 * LOSS_PERCENT / 100
"""Share of the traffic that may get lost: 25 of some 400 datagrams, where 8 do on average; chance
has that once in a million runs."""


@pytest.mark.parametrize(
    ("a", "b", "ends"),
    [
        ("MQ", "MQ", Ends("srflx", "srflx")),
        ("FC", "SY", Ends("srflx", "prflx")),
        ("PUB", "FW", Ends("host", "host")),
    ],
)
def test_a_long_and_lossy_line_has_the_same_path_within_three_seconds(
    labs: Labs, a: str, b: str, ends: Ends
) -> None:
    settings = {**KINDS[a].settings("A"), **KINDS[b].settings("B"), **BAD_LINE}
    lab = labs.up("pair.yaml", settings)
    lab.wait_for(lambda: all(lab.status(node).peers for node in BOTH), 20, "they are introduced")
    introduced = time.monotonic()
    wait_for_path(lab, *BOTH, ends)
    assert time.monotonic() - introduced < BAD_LINE_SECONDS

    with traffic(lab, *BOTH) as flow:
        time.sleep(4)
        report = flow.stop()
    lost = report.lost_count / (report.a_to_b.sent + report.b_to_a.sent)
    assert lost < BAD_LINE_LOST, "no more is lost than the line loses"
    assert report.a_to_b.reordered + report.b_to_a.reordered > 0, (
        "and the line is as bad as it should be"
    )
    wait_for_path(lab, *BOTH, ends)
