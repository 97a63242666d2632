"""Keybase goes, in every way that it can: data does not notice, and health says what is wrong."""

import time
from datetime import UTC, datetime, timedelta

from .conftest import Labs
from .disturbances import (
    ALICE,
    BACK_SECONDS,
    BOB,
    BOTH,
    SHOWN_SECONDS,
    entry,
    in_wireguard,
    lossless,
    restart,
    wait_for_health,
    wait_until_well,
    withdraw_last,
)
from .lab import Lab
from .mesh import peer_of, simulator, wait_connected

FILES_SECONDS = 90.0
"""Until health shows that KBFS gives no answer: it has 20 s for one, and what mends itself within 30 s
alarms nobody."""

STALE_SECONDS = 10

KEPT_SECONDS = 3.0
"""Until an agent has stored whom it knows; one that dies sooner may have to be told again."""

LIMIT_SECONDS = 30
"""For which a refused call says that others will be."""

ALLOWED_SECONDS = 1.1 * LIMIT_SECONDS + BACK_SECONDS
"""Until all is well: the last refusal may just have come, and nobody calls before its time is over,
and a tenth of it at random."""


def test_one_host_loses_its_service_login_and_network_while_the_others_files_and_calls_stall(
    pair: Lab,
) -> None:
    admin = simulator(pair)
    with lossless(pair):
        time.sleep(KEPT_SECONDS)
        admin.set(BOB, "kbfs_up", False)
        admin.order("rate-limit", "bob", 0, LIMIT_SECONDS)
        # An agent that starts looks at everything at once; it lives on what it knows.
        restart(pair, "bob")

        _kill_the_service(pair)
        _log_out(pair)
        _take_the_network(pair)

        wait_for_health(pair, "bob", "keybase-rate-limited")
        wait_for_health(pair, "bob", "peers-file-unreadable", FILES_SECONDS)
        assert entry(pair, "bob", "keybase-unreachable") is None
        admin.set(BOB, "kbfs_up", True)
        admin.order("rate-limit", "bob", "off")
        wait_until_well(pair, *BOTH, seconds=ALLOWED_SECONDS)


def _kill_the_service(lab: Lab) -> None:
    admin, began = simulator(lab), datetime.now(UTC)
    admin.stop_service(ALICE, kill=True)
    wrong = wait_for_health(lab, "alice", "keybase-unreachable")
    assert timedelta(seconds=-2) < wrong.since - began < timedelta(seconds=15)
    admin.start_service(ALICE)
    wait_until_well(lab, "alice")
    # Poisoned pipes were replaced: what is said now is heard, and said.
    withdraw_last(lab, "alice", ALICE)


def _log_out(lab: Lab) -> None:
    admin = simulator(lab)
    admin.set(ALICE, "logged_in", False)
    admin.stop_service(ALICE)
    admin.start_service(ALICE)
    wrong = wait_for_health(lab, "alice", "keybase-logged-out")
    assert wrong.severity == "error"
    admin.set(ALICE, "logged_in", True)
    wait_until_well(lab, "alice")


def _take_the_network(lab: Lab) -> None:
    admin = simulator(lab)
    admin.set(ALICE, "online", False)
    restart(lab, "alice")
    wait_for_health(lab, "alice", "keybase-unreachable")
    admin.set(ALICE, "online", True)
    wait_until_well(lab, "alice")
    wait_connected(lab, ("alice",))


def test_a_team_that_is_stale_lets_nobody_in_where_that_is_wanted(labs: Labs) -> None:
    lab = labs.up("pair.yaml", {"MAX_STALE_SECONDS": f"{STALE_SECONDS}", "MEMBERSHIP_SECONDS": "5"})
    wait_connected(lab, BOTH)
    admin = simulator(lab)
    key = lab.status("bob").self_.public_key

    admin.stop_service(ALICE)

    wait_for_health(lab, "alice", "keybase-stale", STALE_SECONDS + SHOWN_SECONDS)
    lab.wait_for(
        lambda: not in_wireguard(lab, "alice", key), 5, "alice's WireGuard does not know bob"
    )
    assert peer_of(lab.status("bob"), "alice") is not None, "bob has read the members meanwhile"

    admin.start_service(ALICE)
    time.sleep(1)
    wait_connected(lab, BOTH, BACK_SECONDS)
