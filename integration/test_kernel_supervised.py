"""The container's programs die on a host with the kernel's WireGuard, and no tunnel notices."""

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Labs
from .lab import Lab
from .mesh import TEAM, peer_of, simulator, traffic, wait_connected, wait_data

pytestmark = pytest.mark.executors("uml")

BOTH = ("alice", "bob")

PROGRAMS = {"kbwg": "kbwg run", "service": "bin/keybase .* service", "kbfs": "kbfsfuse"}
"""What the supervisor keeps running: a part of its command line."""

INVALID = "peers-file-invalid"

HEARD_SECONDS = 60.0
"""A look every 30 s, and what a failed one before it may add."""

BACK_SECONDS = 10.0
"""Until the supervisor has started again what died."""


@pytest.fixture(scope="module")
def lab(module_labs: Labs) -> Lab:
    # A guest's own file system: all of this ends with it.
    subprocess.run(["useradd", "--system", "--no-create-home", "kbwg"], check=True)
    for file in (REPOSITORY / "integration", Path(sys.prefix), Path(sys.executable).resolve()):
        for directory in file.parents:
            directory.chmod(directory.stat().st_mode | 0o055)
    lab = module_labs.up("pair.yaml", {"BOB_ROLE": "supervised", "DEVICE_B": "bob/server"})
    wait_connected(lab, BOTH)
    return lab


@pytest.mark.parametrize("victims", [("service",), ("kbfs",), ("kbwg",), tuple(PROGRAMS)])
def test_no_tunnel_notices_the_death_of(lab: Lab, victims: tuple[str, ...]) -> None:
    wait_data(lab, BOTH)
    before = {name: pid(lab, name) for name in PROGRAMS}
    key = lab.status("bob").self_.public_key
    with traffic(lab, *BOTH) as flow:
        for name in victims:
            lab.exec("bob", ["kill", "-KILL", before[name]])
        lab.wait_for(
            lambda: all(pid(lab, name) not in ("", before[name]) for name in victims),
            BACK_SECONDS,
            f"{' and '.join(victims)} are back",
        )
        assert_keybase_is_heard(lab)
        wait_connected(lab, BOTH)
        report = flow.stop()

    assert report.a_to_b.sent > 50
    assert report.lost_count == 0
    assert {name for name in PROGRAMS if pid(lab, name) != before[name]} == set(victims)
    assert lab.status("bob").self_.public_key == key
    assert peer_of(lab.status("alice"), "bob", "server").public_key == key


def assert_keybase_is_heard(lab: Lab) -> None:
    """Let bob learn something that only a living service and KBFS tell."""
    path = f"/keybase/team/{TEAM}/peers.json"
    simulator(lab).write_file(path, "this is no JSON")
    lab.wait_for(lambda: INVALID in _health(lab), HEARD_SECONDS, "bob reads the file")
    simulator(lab).order("file-remove", path)
    lab.wait_for(lambda: INVALID not in _health(lab), HEARD_SECONDS, "bob reads that it is gone")


def _health(lab: Lab) -> set[str]:
    return {entry.code for entry in lab.status("bob").health}


def pid(lab: Lab, program: str) -> str:
    """Find a program of bob's; the oldest: what it starts has its command line for a moment."""
    search = ["pgrep", "--oldest", "--full", PROGRAMS[program]]
    return lab.exec("bob", search, check=False).stdout.strip()
