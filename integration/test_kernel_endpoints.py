"""What the kernel's WireGuard does with endpoints: the facts behind `sidecar.wireguard.endpoint_rules`.

Each rule there has its reason here. A kernel that behaves otherwise fails these tests, and then a
rule may be idle or wrong.
"""

import time
from collections.abc import Iterator

import pytest

from .kernel_wireguard import MARK, PORT, Host, hosts

pytestmark = pytest.mark.executors("uml")

Pair = tuple[Host, Host]

A, B, B_TOO, NOBODY = "10.1.0.1", "10.1.0.2", "10.1.0.12", "10.1.0.99"

REKEY_TIMEOUT = 5.0
"""Seconds after which an unanswered initiation is sent again."""

SESSION_SECONDS = 180.0
"""After which a session is not used any more."""

DAY = 86_400

COUNTERS = f"""
table inet count {{
    chain in {{ type filter hook input priority filter; udp dport {PORT} counter; }}
    chain out {{ type filter hook output priority filter; udp sport {PORT} counter; }}
}}
"""


@pytest.fixture
def pair() -> Iterator[Pair]:
    with hosts(2) as (a, b):
        a.cable("eth0", b, "eth0", f"{A}/24", f"{B}/24")
        b.ip("address", "add", f"{B_TOO}/24", "dev", "eth0")
        # Somebody who is there and says nothing.
        a.ip("neighbour", "add", NOBODY, "lladdr", "02:00:00:00:00:99", "dev", "eth0")
        a.tunnel(b)
        b.tunnel(a)
        yield a, b


def at(address: str) -> tuple[str, str]:
    return ("endpoint", f"{address}:{PORT}")


def keepalive(seconds: int) -> tuple[str, str]:
    return ("persistent-keepalive", str(seconds))


def test_a_right_endpoint_is_opened_at_once(pair: Pair) -> None:
    a, b = pair
    a.peer(b, *at(B), *keepalive(25))
    assert a.seconds_to_handshake(b) < 0.5


@pytest.mark.parametrize("remedy", ["none", "keepalive", "ping"])
def test_a_guess_costs_the_rekey_timer_and_nothing_shortens_it(pair: Pair, remedy: str) -> None:
    a, b = pair
    a.peer(b, *at(NOBODY), *keepalive(25))
    time.sleep(0.3)
    a.peer(b, *at(B))
    if remedy == "keepalive":
        a.peer(b, *keepalive(0))
        a.peer(b, *keepalive(25))
    if remedy == "ping":
        a.pings(b, 1)
    assert REKEY_TIMEOUT - 1.5 < a.seconds_to_handshake(b) < REKEY_TIMEOUT + 1.5


def test_of_two_that_open_one_after_the_other_none_stalls(pair: Pair) -> None:
    a, b = pair
    for _ in range(10):
        a.tunnel(b)
        b.tunnel(a)
        a.peer(b, *at(B), *keepalive(25))
        a.seconds_to_handshake(b)
        b.peer(a, *at(A), *keepalive(25))
        assert a.pings(b, 1) == b.pings(a, 1) == 1


def test_only_a_keepalive_that_is_switched_on_sends_something(pair: Pair) -> None:
    a, b = pair
    a.peer(b, *at(B), *keepalive(25))
    a.seconds_to_handshake(b)
    time.sleep(1)

    def sends(*settings: str) -> bool:
        before = a.sent(b)
        a.peer(b, *settings)
        time.sleep(1)
        return a.sent(b) > before

    assert not sends(*at(B_TOO)), "a changed endpoint alone"
    assert not sends(*keepalive(25)), "the same keepalive"
    a.peer(b, *keepalive(0))
    assert sends(*keepalive(25))


def test_it_follows_the_source_of_what_it_believes(pair: Pair) -> None:
    a, b = pair
    a.peer(b, *at(B), *keepalive(25))
    a.seconds_to_handshake(b)
    assert b.endpoint(a) == f"{A}:{PORT}"

    a.ip("address", "add", "10.1.0.7/24", "dev", "eth0")
    a.ip("route", "replace", f"{B}/32", "dev", "eth0", "src", "10.1.0.7")
    a.ip("address", "delete", f"{A}/24", "dev", "eth0")
    a.ip("address", "replace", "10.1.0.7/24", "dev", "eth0")
    assert a.pings(b) > 0
    assert b.endpoint(a) == f"10.1.0.7:{PORT}"


def test_a_change_of_the_endpoint_keeps_the_session(pair: Pair) -> None:
    a, b = pair
    a.peer(b, *at(B), *keepalive(25))
    a.seconds_to_handshake(b)
    a.peer(b, *at(B_TOO))
    assert a.pings(b, 10) == 10


@pytest.mark.parametrize(("both", "per_minute"), [(True, 6.07), (False, 3.73)])
def test_an_hour_of_idleness_has_few_packets(pair: Pair, both: bool, per_minute: float) -> None:
    a, b = pair
    a.peer(b, *at(B), *keepalive(25))
    a.seconds_to_handshake(b)
    if both:
        b.peer(a, *keepalive(25))
    time.sleep(1)
    a.run("nft", "-f", "-", stdin=COUNTERS)
    time.sleep(3600)
    words = a.run("nft", "list", "table", "inet", "count").split()
    count = sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")
    assert count / 60 == pytest.approx(per_minute, abs=0.3)


def test_a_clock_that_is_set_back_heals_only_with_keepalives_on_both_sides(pair: Pair) -> None:
    a, b = pair
    a.peer(b, *at(B), *keepalive(25))
    a.seconds_to_handshake(b)
    time.sleep(3)
    _set_clock(-DAY)
    try:
        time.sleep(600)
        assert a.pings(b) == 0, "each initiation is older than the last that was believed"
        b.peer(a, *at(A), *keepalive(25))
        time.sleep(600)
        assert a.pings(b) == 3
        assert b.pings(a) == 3
    finally:
        _set_clock(DAY)


@pytest.fixture
def uplinks() -> Iterator[Pair]:
    # A host with two ways to another.
    with hosts(3) as (a, b, router):
        a.cable("home", router, "r1", "10.1.0.1/24", "10.1.0.254/24")
        a.cable("mobile", router, "r2", "10.2.0.1/24", "10.2.0.254/24")
        b.cable("eth0", router, "r3", "10.9.0.2/24", "10.9.0.254/24")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        a.ip("route", "add", "default", "via", "10.1.0.254", "metric", "100")
        a.ip("route", "add", "default", "via", "10.2.0.254", "metric", "200")
        b.ip("route", "add", "default", "via", "10.9.0.254")
        a.tunnel(b)
        b.tunnel(a)
        yield a, b


def test_it_sends_by_the_uplink_of_the_lookup_also_what_answers_the_other(uplinks: Pair) -> None:
    a, b = uplinks
    b.peer(a, *at("10.2.0.1"))
    assert b.pings(a) > 0
    a.peer(b, *at("10.9.0.2"))
    assert a.pings(b) > 0
    assert b.endpoint(a) == f"10.1.0.1:{PORT}", "although it was reached at the other"

    # A rule for the address that it should answer from does not help.
    a.ip("route", "add", "default", "via", "10.2.0.254", "table", "78")
    a.ip("rule", "add", "from", "10.2.0.1", "lookup", "78")
    a.peer(b, *at("10.9.0.2"))
    assert a.pings(b) > 0
    assert b.endpoint(a) == f"10.1.0.1:{PORT}"


def test_a_marked_host_route_makes_it_send_by_the_uplink_that_was_checked(uplinks: Pair) -> None:
    a, b = uplinks
    a.ip("rule", "add", "fwmark", MARK, "lookup", "77")
    way = ("via", "10.2.0.254", "dev", "mobile", "src", "10.2.0.1")
    a.ip("route", "add", "10.9.0.2/32", *way, "table", "77")
    a.peer(b, *at("10.9.0.2"), *keepalive(25))
    assert a.pings(b) == 3
    assert b.endpoint(a) == f"10.2.0.1:{PORT}"


def _set_clock(seconds: int) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
