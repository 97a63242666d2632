"""Hosts whose clock is hours from Keybase's: told so, heard all the same, and data flows."""

import json
import re
from collections.abc import Iterator

import pytest

from .conftest import Labs
from .disturbances import ALL_BUT_AGENTS, BOTH, MEET_SECONDS, lossless, restart, wait_for_health
from .lab import Lab
from .mesh import simulator, wait_connected, wait_data

TWO_HOURS = 7200

SLOW_SECONDS = 60.0
"""What a post may take on a machine that runs other labs; a clock that differs by less is let be."""

HEARD_SECONDS = 30.0
"""Until a host has heard what another says; on an idle machine a tenth of a second."""

ANOTHER = "192.168.2.77"
"""An address that bob gets for a while."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Iterator[Lab]:
    """Both hosts are two hours ahead from the beginning: Keybase's own clock never goes back."""
    lab = module_labs.up("pair.yaml", services=ALL_BUT_AGENTS)
    simulator(lab).order("clock-skew", -TWO_HOURS)
    for node in BOTH:
        lab.start(node)
    wait_connected(lab, BOTH)
    wait_data(lab, BOTH)
    yield lab
    for node in BOTH:
        assert "Traceback" not in lab.logs(node)


def test_hosts_that_are_two_hours_ahead_of_keybase(lab: Lab) -> None:
    with lossless(lab):
        restart(lab, "bob")
        wrong = wait_for_health(lab, "bob", "clock-differs", MEET_SECONDS)
        assert _apart(wrong.text) == pytest.approx(TWO_HOURS, abs=SLOW_SECONDS)
        wait_connected(lab, BOTH, MEET_SECONDS)
        _assert_heard(lab)


def test_hosts_whose_clock_is_set_back_to_two_hours_behind(lab: Lab) -> None:
    with lossless(lab):
        # As if it were set back by four: for Keybase time has only gone on.
        simulator(lab).order("clock-skew", TWO_HOURS)
        restart(lab, "bob")
        lab.wait_for(lambda: _apart(_told(lab)) < 0, MEET_SECONDS, "bob says that he is behind")
        assert _apart(_told(lab)) == pytest.approx(-TWO_HOURS, abs=SLOW_SECONDS)
        wait_connected(lab, BOTH, MEET_SECONDS)
        _assert_heard(lab)


def _told(lab: Lab) -> str:
    return wait_for_health(lab, "bob", "clock-differs", MEET_SECONDS).text


def _apart(text: str) -> int:
    """Read by how many seconds a host is ahead of Keybase; negative: behind."""
    (found,) = re.findall(r"is (\d+) s (ahead of|behind) Keybase's", text)
    return int(found[0]) if found[1] == "ahead of" else -int(found[0])


def _assert_heard(lab: Lab) -> None:
    """See that what bob says counts: its numbers are not those of his own clock."""
    lab.exec("bob", ["ip", "address", "add", f"{ANOTHER}/24", "dev", "eth0"])
    lab.wait_for(lambda: ANOTHER in _tried(lab), HEARD_SECONDS, "alice has heard of it")
    lab.exec("bob", ["ip", "address", "del", f"{ANOTHER}/24", "dev", "eth0"])
    lab.wait_for(lambda: ANOTHER not in _tried(lab), HEARD_SECONDS, "and of its end")


def _tried(lab: Lab) -> list[str]:
    """List where alice looks for bob."""
    shown = lab.exec("alice", ["kbwg", "why", "bob", "--json"]).stdout
    return [pair["remote"].rpartition(":")[0] for pair in json.loads(shown)["pairs"]]
