"""Peers that no NAT lets through meet at a TURN server, a real coturn; and leave it without loss."""

import json
import time
from collections.abc import Callable

import pytest

from .conftest import Labs
from .expectation import Ends
from .lab import Lab
from .mesh import CONNECT_SECONDS, peer_of, ping_all, traffic, wait_connected, wait_for_path
from .rules import Drop

BOTH = ("alice", "bob")

SERVER, SPARE = "198.18.0.20", "198.18.0.30"
UDP, TCP, TLS = (
    f"turn:{SERVER}?transport=udp",
    f"turn:{SERVER}?transport=tcp",
    f"turns:{SERVER}:443?transport=tcp",
)
ROUTERS = ("198.18.100.2", "198.18.113.2")

SYMMETRIC = {"MAPPING": "address-and-port-dependent", "FILTERING": "address-and-port-dependent"}
RESTRICTED = {"MAPPING": "endpoint-independent", "FILTERING": "address-and-port-dependent"}

DIRECT_SECONDS = 35.0
"""Until a direct path that has become possible is found: each pair is tried every 25 s ± 15 %."""

SERVER_DEATH_SECONDS = 60.0
"""Until the death of an idle server is noticed: it is asked each 20 to 26 s, and then again."""

MANY = 200.0
"""Datagrams a second each way, of a busy call."""


def pair(labs: Labs, a: dict[str, str], b: dict[str, str], servers: str, **more: str) -> Lab:
    nats = {f"NAT_A_{key}": value for key, value in a.items()}
    nats |= {f"NAT_B_{key}": value for key, value in b.items()}
    settings = {**nats, "TURN_SERVERS": servers, "PORT_PREDICTION": "off", **more}
    return labs.up("pair.yaml", settings)


def relay_hops(lab: Lab, node: str, peer: str) -> int:
    path = peer_of(lab.status(node), peer).path
    return 0 if path is None else [path.local.kind, path.remote.kind].count("relay")


def relayed(lab: Lab) -> bool:
    paths = [peer_of(lab.status(node), peer).path for node, peer in (BOTH, BOTH[::-1])]
    return all(path is not None and path.relayed for path in paths)


def direct(lab: Lab) -> bool:
    paths = [peer_of(lab.status(node), peer).path for node, peer in (BOTH, BOTH[::-1])]
    return all(path is not None and not path.relayed for path in paths)


def cut_direct(lab: Lab) -> list[Drop]:
    """Let nothing through between the two routers; what goes by a server does."""
    return [
        lab.drop("internet", f"ip saddr {one} ip daddr {other}")
        for one, other in (ROUTERS, ROUTERS[::-1])
    ]


def assert_lossless(lab: Lab, seconds: float = 3.0) -> None:
    with traffic(lab, *BOTH) as flow:
        time.sleep(seconds)
        report = flow.stop()
    assert report.lost_count == 0


@pytest.mark.executors("namespaces", "docker")
def test_a_host_without_udp_is_reached_by_a_relay_over_tls(labs: Labs) -> None:
    lab = labs.up("udp-blocked.yaml")
    wait_connected(lab, BOTH, 60.0)

    assert relayed(lab)
    assert [relay_hops(lab, *BOTH), relay_hops(lab, *BOTH[::-1])] == [1, 1]
    (serving,) = [relay for relay in lab.status("alice").self_.relays if relay.relayed]
    assert serving.server == f"turns:{SERVER}:443"
    ping_all(lab, BOTH)
    assert_lossless(lab)


def test_a_host_without_udp_and_without_a_server_is_told_so(labs: Labs) -> None:
    lab = labs.up("udp-blocked.yaml", {"TURN_SERVERS": "none"})

    def told() -> list[str]:
        return [entry.text for entry in lab.status("alice").health if entry.code == "udp-blocked"]

    (text,) = lab.wait_for(told, 60.0, "alice says that UDP is blocked")
    assert "KBWG_TURN_SERVERS" in text


@pytest.mark.parametrize("server", [UDP, TCP, TLS], ids=["UDP", "TCP", "TLS"])
def test_nats_that_keep_peers_apart_are_bridged(labs: Labs, server: str) -> None:
    lab = pair(labs, SYMMETRIC, RESTRICTED, server)
    wait_connected(lab, BOTH)

    assert relayed(lab)
    assert relay_hops(lab, *BOTH) == 1
    ping_all(lab, BOTH)
    assert_lossless(lab)


def test_a_home_without_udp_is_reached_by_tls_at_port_443(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"NAT_A_UDP": "blocked", "TURN_SERVERS": TLS})
    wait_connected(lab, BOTH)
    ping_all(lab, BOTH)

    path = peer_of(lab.status("alice"), "bob").path
    assert path is not None
    assert path.local.kind == "relay"


def test_time_limited_credentials_are_made_from_the_secret(labs: Labs) -> None:
    lab = pair(labs, SYMMETRIC, SYMMETRIC, UDP, TURN_SECRET="north")  # noqa: S106 - of this lab

    wait_connected(lab, BOTH)

    assert relayed(lab)


def test_a_server_that_refuses_the_credentials_is_told_and_let_be(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"TURN_SERVERS": UDP, "AGENTS_TURN_PASSWORD": "south"})
    # A direct path is none of the server's business.
    wait_connected(lab, BOTH)

    def told() -> list[str]:
        health = lab.status("alice").health
        return [entry.text for entry in health if entry.code == "turn-credentials"]

    (text,) = lab.wait_for(told, CONNECT_SECONDS, "alice says that her credentials are refused")
    assert SERVER in text
    assert "KBWG_TURN_USERNAME" in text
    (server,) = json.loads(lab.exec("alice", ["kbwg", "netcheck", "--json"]).stdout)["turn"]
    assert server["trouble"] == "refuses the credentials"
    assert server["relayed"] == []
    assert server["rtt_ms"] > 0
    assert "refuses the credentials" in lab.exec("alice", ["kbwg", "netcheck"]).stdout


def test_nonces_and_channels_that_end_early_interrupt_nothing(labs: Labs) -> None:
    lab = pair(labs, SYMMETRIC, RESTRICTED, UDP, TURN_NONCE_SECONDS="5")
    wait_connected(lab, BOTH)

    assert_lossless(lab, seconds=40.0)


def test_a_server_that_dies_is_replaced_by_the_other(labs: Labs) -> None:
    lab = pair(labs, SYMMETRIC, RESTRICTED, f"{UDP},turn:{SPARE}?transport=udp")
    wait_connected(lab, BOTH)
    lab.wait_for(
        lambda: len([r for r in lab.status("alice").self_.relays if r.relayed]) == 2,
        CONNECT_SECONDS,
        "alice has an allocation at both servers",
    )
    with traffic(lab, *BOTH) as flow:
        time.sleep(6.0)
        path = peer_of(lab.status("alice"), "bob").path
        assert path is not None
        ends = (path.local.address, path.remote.address)
        node = "turn" if any(end.startswith(SERVER) for end in ends) else "turn-2"
        lab.kill(node)
        time.sleep(6.0)
        report = flow.stop()

    assert relayed(lab)
    for direction in (report.a_to_b, report.b_to_a):
        assert direction.longest_gap < 4.0


def test_a_server_that_dies_is_no_business_of_a_direct_path(labs: Labs) -> None:
    lab = pair(labs, RESTRICTED, RESTRICTED, UDP)
    wait_for_path(lab, *BOTH, Ends("srflx", "srflx"))
    lab.wait_for(
        lambda: all(any(r.relayed for r in lab.status(node).self_.relays) for node in BOTH),
        CONNECT_SECONDS,
        "both have an allocation",
    )
    with traffic(lab, *BOTH) as flow:
        time.sleep(1.0)
        lab.kill("turn")
        lab.wait_for(
            lambda: not any(r.relayed for r in lab.status("alice").self_.relays),
            SERVER_DEATH_SECONDS,
            "alice knows that the server is dead",
        )
        report = flow.stop()

    assert direct(lab)
    assert report.lost_count == 0


@pytest.mark.executors("namespaces", "uml")
def test_data_begins_on_the_relay_and_moves_to_direct_without_loss(labs: Labs) -> None:
    lab = pair(labs, RESTRICTED, RESTRICTED, UDP)
    for _ in range(2):
        move_to_direct(lab, lambda: None)
        endpoints = [peer_of(lab.status(n), p).endpoint for n, p in (BOTH, BOTH[::-1])]
        assert all(end is not None and end.rpartition(":")[0] in ROUTERS for end in endpoints)


def test_an_address_that_comes_and_goes_meanwhile_costs_nothing(labs: Labs) -> None:
    lab = pair(labs, RESTRICTED, RESTRICTED, UDP)

    def come_and_go() -> None:
        # Checks everything at once, so that the direct path is found within milliseconds.
        lab.exec("alice", ["ip", "address", "add", "192.168.1.77/24", "dev", "eth0"])
        time.sleep(0.3)
        lab.exec("alice", ["ip", "address", "del", "192.168.1.77/24", "dev", "eth0"])

    for _ in range(2):
        move_to_direct(lab, come_and_go)


def move_to_direct(lab: Lab, meanwhile: Callable[[], None]) -> None:
    """Begin on the relay, let a direct path become possible, and count what is lost on the way."""
    cuts = cut_direct(lab)
    wait_for_path(lab, *BOTH, Ends("relay", "srflx"), Ends("srflx", "relay"))
    time.sleep(3.0)
    with traffic(lab, *BOTH, rate=MANY) as flow:
        time.sleep(1.0)
        for cut in cuts:
            cut.remove()
        meanwhile()
        lab.wait_for(lambda: direct(lab), DIRECT_SECONDS, "the path is direct")
        time.sleep(3.0)
        assert direct(lab), "and stays so"
        report = flow.stop()
    assert report.lost_count == 0
