"""Hours of two agents with nothing to do, or nobody to find, in virtual time: what they send and say."""

import time
from collections.abc import Iterator

import pytest

from .conftest import Labs
from .expectation import Ends
from .lab import Lab
from .mesh import TEAM, TOPIC, simulator, traffic, wait_connected, wait_data, wait_for_path

pytestmark = [pytest.mark.executors("uml"), pytest.mark.long]

BOTH = ("alice", "bob")
ROUTERS = ("198.18.100.2", "198.18.113.2")
DIRECT = Ends("srflx", "srflx")

HOUR = 3600.0
SETTLED_SECONDS = 120.0

IDLE_PER_MINUTE = 15.0
"""Datagrams of an idle peer, both ways (design D5)."""

POSTS_AN_HOUR = range(4, 7)
"""Two agents renew their leases every 25 minutes, and say nothing else."""

STUN = "@th,96,32 0x2112a442"
"""The magic cookie (RFC 8489 section 5)."""

INITIATIONS = 2 * 60 / 5
"""A minute, of both sides: WireGuard's own REKEY_TIMEOUT of 5 s."""

CUT_SECONDS = 600.0
"""After five minutes nothing gets rarer any more."""

FIND_SECONDS = 40.0
"""Until a path that has become possible is found: every pair is tried at least every 30 s."""

LEASE = 5400.0


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    wait_data(lab, BOTH)
    return lab


class Count:
    """Counts the datagrams between the two homes, both ways."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        ends = f"{{ {', '.join(ROUTERS)} }}"
        chain = "chain count { type filter hook forward priority filter; policy accept\n"
        self._rules = lab.nft("internet", f"{chain} ip saddr {ends} ip daddr {ends} counter\n}}")

    def read(self) -> int:
        words = self._lab.exec("internet", ["nft", "list", "ruleset"]).stdout.split()
        return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")

    def remove(self) -> None:
        self._rules.remove()


@pytest.fixture
def datagrams(lab: Lab) -> Iterator[Count]:
    count = Count(lab)
    yield count
    count.remove()


def test_an_hour_of_idleness_costs_little_and_keeps_path_and_lease(
    lab: Lab, datagrams: Count
) -> None:
    time.sleep(SETTLED_SECONDS)
    posts, before = _posts(lab), datagrams.read()
    started = {node: lab.status(node).counters["keybase-spawned"] for node in BOTH}
    time.sleep(HOUR)
    per_minute = (datagrams.read() - before) / (HOUR / 60)
    spawned = [lab.status(node).counters["keybase-spawned"] - started[node] for node in BOTH]
    # What `pytest -rP` shows.
    print(f"{per_minute:.1f} datagrams a minute; Keybase's programs: {spawned}")

    assert 0 < per_minute <= IDLE_PER_MINUTE
    assert _posts(lab) - posts in POSTS_AN_HOUR
    assert not [entry for node in BOTH for entry in lab.status(node).health]
    wait_connected(lab, BOTH, 1)
    wait_for_path(lab, *BOTH, DIRECT, seconds=1)
    with traffic(lab, *BOTH) as flow:
        time.sleep(2)
        assert flow.stop().lost_count == 0


def test_a_path_that_is_cut_for_long_is_looked_for_ever_more_rarely_and_found(lab: Lab) -> None:
    ways = [f"ip saddr {one} ip daddr {other}" for one, other in (ROUTERS, ROUTERS[::-1])]
    # The rule that is made last sees a packet first, so the others count WireGuard's own alone.
    others = [lab.drop("internet", way) for way in ways]
    checks = [lab.drop("internet", f"{way} {STUN}") for way in ways]

    def per_minute(seconds: float) -> tuple[float, float]:
        before = [sum(cut.packets for cut in cuts) for cuts in (checks, others)]
        time.sleep(seconds)
        after = [sum(cut.packets for cut in cuts) for cuts in (checks, others)]
        one, other = (60 * (b - a) / seconds for a, b in zip(before, after, strict=True))
        return one, other

    first, _ = per_minute(60)
    later, initiations = per_minute(CUT_SECONDS)
    for cut in checks + others:
        cut.remove()
    print(f"{first:.1f} checks in the first minute, later {later:.1f} a minute")
    print(f"WireGuard tries {initiations:.1f} times a minute")
    assert 0 < later < first / 3
    assert 0 < initiations <= INITIATIONS
    wait_for_path(lab, *BOTH, DIRECT, seconds=FIND_SECONDS)
    wait_data(lab, BOTH)


def test_a_host_that_was_dead_for_longer_than_its_lease_comes_back_as_who_it_was(lab: Lab) -> None:
    before = lab.status("bob").self_
    lab.kill("bob")
    time.sleep(LEASE + 600)
    lab.start("bob")
    wait_connected(lab, BOTH)
    after = lab.status("bob").self_
    assert (after.ip, after.public_key) == (before.ip, before.public_key)
    wait_data(lab, BOTH)


def _posts(lab: Lab) -> int:
    return len(simulator(lab).messages(TEAM, TOPIC))
