"""Chat lies, loses, doubles, forgets and misdates: data does not notice."""

import time
from collections.abc import Iterator

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, TOPIC, peer_of, ping_all, simulator, wait_connected
from .test_keybase_outages import (
    ALICE,
    BOB,
    BOTH,
    lossless,
    wait_for_health,
    withdraw_last,
)

MEET_SECONDS = 60.0
"""Until a restarted agent is connected though pushes get lost: a read a minute finds them."""

ASKED_SECONDS = 60.0
"""Until two that lost each other ask in the DEV topic: 15 s until the loss is sure, and 5 more."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Iterator[Lab]:
    lab = module_labs.up("pair.yaml")
    wait_connected(lab, BOTH)
    yield lab
    for node in BOTH:
        assert "Traceback" not in lab.logs(node)


def restart(lab: Lab, node: str) -> None:
    """Kill an agent; its tunnel lives on, and it is back."""
    lab.kill(node)
    lab.wait_for(lambda: not lab.running(node), 5, f"{node} is dead")
    lab.start(node)


def test_pushes_that_are_lost_doubled_and_overtaken(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        admin.order("disorder", 0.4, 0.4, 2.0)
        restart(lab, "alice")
        restart(lab, "bob")
        wait_connected(lab, BOTH, MEET_SECONDS)
        admin.order("disorder", "off")


def test_listeners_that_are_alive_and_hear_nothing(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        admin.order("hold-events", True)
        withdraw_last(lab, "bob", BOB)
        admin.order("hold-events", False)


def test_edits_deletions_error_entries_null_lists_and_a_history_that_vanishes(lab: Lab) -> None:
    admin = simulator(lab)
    with lossless(lab):
        texts = [m for m in admin.messages(TEAM, TOPIC) if m["content"]["type"] == "text"]
        last = [m["id"] for m in texts if m["sender"] == BOB][-1]
        admin.edit(TEAM, TOPIC, ALICE, last, "ANNOUNCE 198.18.113.66:4000 " + "A" * 43 + "=")
        lab.wait_for(
            lambda: any(
                m["id"] > last and m["sender"] == BOB and m["content"]["type"] == "text"
                for m in admin.messages(TEAM, TOPIC)
            ),
            30,
            "bob announces itself again",
        )
        for device in (ALICE, BOB):
            admin.set(device, "mangled", True)
            admin.set(device, "nulls", True)
        admin.post(TEAM, TOPIC, BOB, "", error="key invalid for sender at message ctime")
        time.sleep(3)
        for device in (ALICE, BOB):
            admin.set(device, "nulls", False)
        head = admin.messages(TEAM, TOPIC)[-1]["id"]
        admin.order("delete-history", TEAM, TOPIC, ALICE, head + 1)
        # It starts with a status that is no JSON, and a channel that holds nothing.
        restart(lab, "bob")
        wait_connected(lab, BOTH, MEET_SECONDS)
        for device in (ALICE, BOB):
            admin.set(device, "mangled", False)


@pytest.mark.parametrize("skew", [-7200, 7200], ids=["the host is ahead", "the host is behind"])
def test_a_host_whose_clock_is_two_hours_from_the_servers(lab: Lab, skew: int) -> None:
    admin = simulator(lab)
    with lossless(lab):
        admin.order("clock-skew", skew)
        restart(lab, "bob")
        wrong = wait_for_health(lab, "bob", "clock-differs", 60)
        assert "72" in wrong.text
        wait_connected(lab, BOTH, MEET_SECONDS)
        admin.order("clock-skew", 0)
    # A number that everybody accepts: alice follows what bob says from now on.
    key = lab.status("bob").self_.public_key
    assert peer_of(lab.status("alice"), "bob").public_key == key


def test_two_that_lost_each_other_ask_once_and_check_together(lab: Lab) -> None:
    admin = simulator(lab)
    silence = lab.drop("internet", "ip saddr 198.18.100.2 ip daddr 198.18.113.2")
    back = lab.drop("internet", "ip saddr 198.18.113.2 ip daddr 198.18.100.2")
    try:
        lab.wait_for(
            lambda: any(
                '"do":"check"' in m["content"].get("text", {}).get("body", "")
                for m in admin.messages(TEAM, "kbwg", "dev")
            ),
            ASKED_SECONDS,
            "somebody asks for a check",
        )
    finally:
        silence.remove()
        back.remove()

    wait_connected(lab, BOTH, MEET_SECONDS)
    ping_all(lab, BOTH)
    asked = [m for m in admin.messages(TEAM, "kbwg", "dev") if m["content"]["type"] == "text"]
    assert len(asked) <= 4, "rarely, whatever happens"
