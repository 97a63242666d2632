"""`kbwg peers`: what a person does to the team's peers.json, through a KBFS of its own kind."""

import json
import subprocess

import pytest

from .conftest import Labs
from .lab import Lab
from .mesh import TEAM, simulator, wait_connected

BOTH = ("alice", "bob")
PATH = f"/keybase/team/{TEAM}/peers.json"


SCALE = 0.1
"""A KBFS that is away is waited for by Keybase's service for 6 s instead of a minute."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    lab = module_labs.up("pair.yaml", {"MEMBERSHIP_SECONDS": "5", "TIME_SCALE": f"{SCALE}"})
    wait_connected(lab, BOTH)
    return lab


def test_a_team_gets_its_addresses_by_hand_and_every_agent_follows(lab: Lab) -> None:
    assert "no peers.json" in _peers(lab, "list").stdout

    assert "written and read back" in _peers(lab, "add", "alice/laptop", "100.64.7.10").stdout
    _peers(lab, "add", "bob/desktop", "100.64.7.20", "--role", "client")

    lab.wait_for(
        lambda: [str(lab.status(node).self_.ip) for node in BOTH] == ["100.64.7.10", "100.64.7.20"],
        60,
        "both have the listed addresses",
    )
    wait_connected(lab, BOTH)
    listed = _peers(lab, "list").stdout.splitlines()
    assert [line.split() for line in listed[1:]] == [
        ["alice/laptop", "100.64.7.10", "server"],
        ["bob/desktop", "100.64.7.20", "client"],
    ]


def test_saying_it_twice_writes_nothing(lab: Lab) -> None:
    assert "says so already" in _peers(lab, "add", "alice/laptop", "100.64.7.10").stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "bob/desktop", "100.64.7.10"), "100.64.7.10 belongs to alice/laptop"),
        (("add", "bob/desktop", "10.0.0.1"), "no host's address in 100.64.7.0/24"),
        (("add", "bob", "100.64.7.3"), "USERNAME/DEVICE"),
        (("remove", "carol/phone"), "carol/phone is not listed"),
    ],
)
def test_what_makes_no_sense_is_refused(
    lab: Lab, arguments: tuple[str, ...], complaint: str
) -> None:
    refused = _peers(lab, *arguments, check=False)

    assert refused.returncode == 1
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_an_editor_makes_of_the_file_is_written_unless_it_makes_no_sense(lab: Lab) -> None:
    edited = _peers(lab, "edit", EDITOR="sed -i s/100.64.7.20/100.64.7.21/")
    assert "written and read back" in edited.stdout
    assert "100.64.7.21" in _peers(lab, "list").stdout
    for editor, complaint in (("sed -i s/]//", "invalid"), ("false", "failed, nothing is written")):
        refused = _peers(lab, "edit", check=False, EDITOR=editor)
        assert refused.returncode == 1
        assert complaint in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "100.64.7.21" in _peers(lab, "list").stdout


def test_who_is_taken_off_the_list_is_a_guest_and_may_be_put_on_it_again(lab: Lab) -> None:
    assert "written and read back" in _peers(lab, "remove", "bob/desktop").stdout
    lab.wait_for(lambda: _not_listed(lab), 60, "bob is told that he is a guest now")
    _peers(lab, "add", "bob/desktop", "100.64.7.20", "--role", "client")
    lab.wait_for(lambda: not _not_listed(lab), 60, "and that he is not any more")
    assert _peers(lab, "list").stdout.count("bob/desktop") == 1


def test_a_conflict_copy_is_reported(lab: Lab) -> None:
    copy = "peers.conflicted (bob's desktop copy 2026-03-01).json"
    simulator(lab).write_file(f"/keybase/team/{TEAM}/{copy}", "[]")

    assert copy in _peers(lab, "list").stderr


def test_names_that_somebody_wrote_by_hand_reach_the_terminal_as_text(lab: Lab) -> None:
    admin = simulator(lab)
    before = _peers(lab, "list").stdout
    wild = {"username": "carol", "device": "[red]x\x1b[2Jy", "ip": "100.64.7.30"}
    written = [
        {"username": "alice", "device": "laptop", "ip": "100.64.7.10", "role": "server"},
        {"username": "bob", "device": "desktop", "ip": "100.64.7.20", "role": "client"},
    ]
    admin.write_file(PATH, json.dumps([*written, wild]))

    listed = _peers(lab, "list").stdout
    admin.write_file(PATH, json.dumps(written))

    assert "carol/[red]x\N{REPLACEMENT CHARACTER}[2Jy" in listed
    assert "\x1b" not in listed
    assert _peers(lab, "list").stdout == before


def test_a_kbfs_that_is_away_is_said_and_nothing_is_written(lab: Lab) -> None:
    admin = simulator(lab)
    admin.set("alice/laptop", "kbfs_up", False)
    try:
        refused = _peers(lab, "remove", "bob/desktop", check=False)
    finally:
        admin.set("alice/laptop", "kbfs_up", True)

    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "bob/desktop" in _peers(lab, "list").stdout


def _not_listed(lab: Lab) -> bool:
    return "not-listed" in {entry.code for entry in lab.status("bob").health}


def _peers(
    lab: Lab, *words: str, check: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    argv = ["kbwg", "peers", *words]
    return lab.exec("alice", argv, check=check, timeout=60, environment=variables)
