"""Two that can only meet at a relay which the DEV topic names (design S5)."""

import json
import time

from .conftest import Labs
from .disturbances import ALICE, BOB, BOTH, entry, lossless, restart
from .lab import Lab
from .mesh import (
    CONNECT_SECONDS,
    TEAM,
    TOPIC,
    expect_no_path,
    simulator,
    traffic,
    wait_connected,
)

SYMMETRIC = {
    f"NAT_{side}_{what}": "address-and-port-dependent"
    for side in "AB"
    for what in ("MAPPING", "FILTERING")
}

LATE_SECONDS = 15.0
"""For how long the lines stay under way: until then there must be no path."""

ASKED_SECONDS = 60.0
"""Until they ask: the loss is sure after 15 s, the server is there again, and 5 s more."""


def test_a_relay_that_only_the_dev_topic_names_connects_a_pair(labs: Labs) -> None:
    servers = "turn:198.18.0.20?transport=udp"
    lab = labs.up("pair.yaml", {**SYMMETRIC, "TURN_SERVERS": servers, "PORT_PREDICTION": "off"})
    wait_connected(lab, BOTH)
    admin = simulator(lab)
    with traffic(lab, *BOTH):
        # Nobody may announce anything any more, and then the relays that were announced are gone.
        admin.order("least-role", TEAM, TOPIC, "admin")
        admin.events("delay", LATE_SECONDS)
        restart(lab, "turn")

        lab.wait_for(
            lambda: {ALICE, BOB} & set(_proposals(lab)), ASKED_SECONDS, "somebody proposes a relay"
        )
        expect_no_path(lab, *BOTH)

        wait_connected(lab, BOTH, LATE_SECONDS + CONNECT_SECONDS)
    assert entry(lab, "alice", "not-announced") or entry(lab, "bob", "not-announced")
    with lossless(lab):
        time.sleep(3.0)


def _proposals(lab: Lab) -> list[str]:
    """List who has proposed relays."""
    try:
        messages = simulator(lab).messages(TEAM, "kbwg", "dev")
    except RuntimeError:
        return []
    said = [(m["sender"], m["content"].get("text", {}).get("body")) for m in messages]
    return [sender for sender, body in said if body and json.loads(body).get("relay")]
