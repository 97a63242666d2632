"""`kbwg why` on real networks: it names what really stands in the way."""

import json
from typing import Any

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import wait_connected

SYMMETRIC = "address-and-port-dependent"

EXPLAINED_SECONDS = 40.0
"""Until a host has given up on its STUN servers, on a loaded machine; it takes 7 s."""


def _why(lab: Lab, node: str, peer: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        lab.exec(node, ["kbwg", "why", peer, "--json"], check=False).stdout or "{}"
    )
    return document


@pytest.mark.parametrize(
    ("settings", "alice", "bob"),
    [
        (
            {"NAT_A_MAPPING": SYMMETRIC, "NAT_B_MAPPING": SYMMETRIC},
            "mapping-varies-both",
            "mapping-varies-both",
        ),
        ({"NAT_A_UDP": "blocked"}, "udp-blocked-here", "udp-blocked-there"),
    ],
    ids=["both NATs symmetric", "UDP blocked"],
)
def test_a_pair_that_cannot_meet_is_told_why_on_both_sides(
    labs: Labs, settings: dict[str, str], alice: str, bob: str
) -> None:
    lab = labs.up("pair.yaml", settings)
    for node, peer, code in (("alice", "bob", alice), ("bob", "alice", bob)):
        lab.wait_for(
            lambda node=node, peer=peer, code=code: (  # type: ignore[misc]
                _why(lab, node, peer).get("code") == code
            ),
            EXPLAINED_SECONDS,
            f"{node} says {code}",
        )
        why = _why(lab, node, peer)
        assert why["path"] is None
        assert why["advice"]
        assert {pair["outcome"] for pair in why["pairs"]} == {"no answer"}


def test_a_good_path_says_why_it_is_preferred(labs: Labs) -> None:
    lab = labs.up("pair.yaml")
    wait_connected(lab, ("alice", "bob"))
    why = _why(lab, "alice", str(lab.status("bob").self_.ip))
    assert why["code"] == "direct"
    assert why["here"]["mapping"] == why["there"]["mapping"] == "endpoint-independent"
    (selected,) = [pair for pair in why["pairs"] if pair["selected"]]
    assert selected["outcome"] == "answered"
    assert why["preferred"] == "It is the only pair that works."

    table = lab.exec("alice", ["kbwg", "why", "bob"]).stdout
    assert "It is the only pair that works." in table
    refused = lab.exec("alice", ["kbwg", "why", "mallory"], check=False)
    assert refused.returncode == 1
    assert "no peer mallory; there are bob/desktop" in refused.stderr
