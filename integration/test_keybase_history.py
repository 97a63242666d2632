"""The channel forgets, hides, refuses and grows: who was heard of stays, and data does not notice."""

from .disturbances import (
    ALICE,
    BOB,
    BOTH,
    MEET_SECONDS,
    entry,
    lossless,
    posted,
    restart,
    wait_for_health,
    wait_until_well,
    withdraw_last,
)
from .lab import Lab
from .mesh import TEAM, TOPIC, simulator, wait_connected
from .strangers import announcement

CHATTER = 1_300
"""Texts of people, which say nothing to an agent: more than the CLI returns of itself."""

HOLE = 700
"""Messages of these that no read shows: two pages with nothing on them."""

RETENTION_SECONDS = 2.0

HEARD_SECONDS = 20.0
"""Until one host has heard what another says."""


def test_who_was_announced_a_thousand_messages_and_a_hole_ago_is_found(pair: Lab) -> None:
    admin = simulator(pair)
    admin.set_role(TEAM, "carol", "writer")

    def talk() -> None:
        admin.post(TEAM, TOPIC, "carol/pc", announcement("carol/pc", "100.64.7.200"))
        said = [("post", TEAM, TOPIC, "carol/pc", f"lunch {number}") for number in range(CHATTER)]
        admin.orders(said)
        head = admin.messages(TEAM, TOPIC)[-1]["id"]
        admin.order("gap", TEAM, TOPIC, head - 100 - HOLE, head - 100)

    with lossless(pair):
        restart(pair, "bob", talk)
        pair.wait_for(
            lambda: "carol" in {peer.username for peer in pair.status("bob").peers},
            MEET_SECONDS,
            "bob has read of carol",
        )
    admin.set_role(TEAM, "carol", "none")
    wait_connected(pair, BOTH, MEET_SECONDS)


def test_a_channel_that_cannot_be_read_is_heard(pair: Lab) -> None:
    admin = simulator(pair)
    text = "CHAT CONSISTENCY ERROR: message 3 has a prev pointer that is not lower"
    with lossless(pair):
        admin.order("break-reads", TEAM, TOPIC, text)
        restart(pair, "alice")
        wrong = wait_for_health(pair, "alice", "keybase-unreachable")
        assert text in wrong.text
        withdraw_last(pair, "alice", ALICE)
        admin.order("break-reads", TEAM, TOPIC)
        # Something that cannot be shown makes agents look at once.
        admin.post(TEAM, TOPIC, "alice/phone", "", error="This exploding message is not available")
        wait_until_well(pair, *BOTH)


def test_a_retention_policy_that_removes_every_message(pair: Lab) -> None:
    admin = simulator(pair)
    with lossless(pair):
        admin.order("retention", TEAM, TOPIC, RETENTION_SECONDS)
        before = posted(pair, BOB)[-1]
        restart(pair, "bob")
        pair.wait_for(lambda: posted(pair, BOB)[-1] > before, HEARD_SECONDS, "bob is announced")
        wait_connected(pair, BOTH, MEET_SECONDS)
        withdraw_last(pair, "alice", ALICE)
        admin.order("retention", TEAM, TOPIC, "off")
        wait_until_well(pair, *BOTH)


def test_a_policy_that_lets_posts_explode_sends_us_to_dev_until_it_is_taken_back(
    pair: Lab,
) -> None:
    admin = simulator(pair)
    with lossless(pair):
        admin.order("ephemeral-policy", TEAM, TOPIC, "on")
        admin.delete(TEAM, TOPIC, BOB, posted(pair, BOB, "chat")[-1])
        wait_for_health(pair, "bob", "channel-explodes")
        pair.wait_for(lambda: _in_dev(pair), HEARD_SECONDS, "bob announces himself in DEV")

        admin.order("ephemeral-policy", TEAM, TOPIC, "off")
        before = posted(pair, BOB, "chat")[-1]
        admin.post(TEAM, TOPIC, "alice/phone", "texts stay again")
        pair.wait_for(
            lambda: posted(pair, BOB, "chat")[-1] > before, HEARD_SECONDS, "he is back in chat"
        )
        assert entry(pair, "bob", "channel-explodes") is None
    wait_connected(pair, BOTH, MEET_SECONDS)


def _in_dev(lab: Lab) -> bool:
    """Say whether bob has posted to the DEV topic, which he makes by that."""
    try:
        return bool(posted(lab, BOB, "dev"))
    except RuntimeError:
        return False
