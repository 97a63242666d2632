"""Chat lies, loses, doubles and overtakes itself: data does not notice."""

import time

from .disturbances import ALICE, BOB, BOTH, MEET_SECONDS, lossless, restart
from .lab import Lab
from .mesh import TEAM, TOPIC, ping_all, simulator, wait_connected

ASKED_SECONDS = 60.0
"""Until two that lost each other ask in the DEV topic: 15 s until the loss is sure, and 5 more."""


def test_pushes_that_are_lost_doubled_and_overtaken(pair: Lab) -> None:
    admin = simulator(pair)
    with lossless(pair):
        admin.order("disorder", 0.4, 0.4, 2.0)
        restart(pair, "alice")
        restart(pair, "bob")
        wait_connected(pair, BOTH, MEET_SECONDS)
        admin.order("disorder", "off")


def test_edits_deletions_error_entries_null_lists_and_a_history_that_is_deleted(pair: Lab) -> None:
    admin = simulator(pair)
    with lossless(pair):
        texts = [m for m in admin.messages(TEAM, TOPIC) if m["content"]["type"] == "text"]
        last = [m["id"] for m in texts if m["sender"] == BOB][-1]
        admin.edit(TEAM, TOPIC, ALICE, last, "ANNOUNCE 198.18.113.66:4000 " + "A" * 43 + "=")
        pair.wait_for(
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
        restart(pair, "bob")
        wait_connected(pair, BOTH, MEET_SECONDS)
        for device in (ALICE, BOB):
            admin.set(device, "mangled", False)


def test_two_that_lost_each_other_ask_once_and_check_together(pair: Lab) -> None:
    admin = simulator(pair)
    silence = pair.drop("internet", "ip saddr 198.18.100.2 ip daddr 198.18.113.2")
    back = pair.drop("internet", "ip saddr 198.18.113.2 ip daddr 198.18.100.2")
    try:
        pair.wait_for(
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

    wait_connected(pair, BOTH, MEET_SECONDS)
    ping_all(pair, BOTH)
    asked = [m for m in admin.messages(TEAM, "kbwg", "dev") if m["content"]["type"] == "text"]
    assert len(asked) <= 4, "rarely, whatever happens"
