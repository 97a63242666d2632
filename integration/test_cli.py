"""The lab by hand, and the demo: the commands that the README gives."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from sidecar.status import Status

from .conftest import REPOSITORY
from .labs import namespaces
from .labs.state import ROOT, names

NAME = f"cli{os.getpid()}"


def lab(*arguments: str, status: int = 0) -> str:
    """Run the lab's command line; returns what it prints."""
    result = subprocess.run(
        [sys.executable, "-m", "integration", "--lab", NAME, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == status, result.stderr
    return result.stdout + result.stderr


def test_a_lab_by_hand_from_up_to_down() -> None:
    try:
        assert "look around" in lab("up", "compose/pair.yaml", "--set", "NAT_A_MAPPING=none")
        assert lab("exec", "alice", "--", "hostname") == "alice\n"
        assert lab("exec", "alice", "--", "sh", "-c", "exit 7", status=7) == ""
        assert NAME in lab("list").split()
        assert "is up" in lab("up", "compose/pair.yaml", status=1)

        deadline = time.monotonic() + 30
        while not (lines := statuses()) or not all(
            Status.model_validate(line["status"]).peers for line in lines if "status" in line
        ):
            assert time.monotonic() < deadline, lines
            time.sleep(0.5)
        assert [line["node"] for line in lines] == ["alice", "bob"]
        table = lab("status")
        assert "alice/laptop" in table
        assert "bob/desktop" in table
        assert "started" in lab("logs", "alice")

        lab("kill", "bob")
        assert "not running" in lab("status", status=1)
        assert {"node": "bob", "error": "not running"} in statuses(status=1)
        lab("start", "bob")
        assert "runs already" in lab("start", "bob", status=1)
        lab("stop", "alice")
        assert "does not run" in lab("stop", "alice", status=1)
    finally:
        lab("down")
    assert NAME not in names()
    assert NAME not in namespaces.names()
    assert "no lab" in lab("exec", "alice", "--", "true", status=1)
    assert lab("down") == "", "there is nothing to remove"


def statuses(status: int | None = None) -> list[dict[str, object]]:
    """Each line of `status --json`; agents that still start make it fail."""
    result = subprocess.run(
        [sys.executable, "-m", "integration", "--lab", NAME, "status", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    if status is None:
        return lines if result.returncode == 0 else []
    assert result.returncode == status
    return lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "compose/none.yaml"], "cannot read compose/none.yaml"),
        (["up", "compose/nat.yaml", "--set", "NAT_MAPING=none"], "did you mean NAT_MAPPING?"),
        (["up", "compose/nat.yaml", "--set", "NAT_MAPPING=cone"], "NAT_MAPPING is one of none,"),
        (["exec", "alice", "--", "true"], f"no lab {NAME} is up"),
        (["status"], f"no lab {NAME} is up"),
    ],
    ids=["no file", "no variable", "no value", "no lab to enter", "no lab to ask"],
)
def test_mistakes_are_explained_without_a_traceback(arguments: list[str], message: str) -> None:
    printed = lab(*arguments, status=1)
    assert message in printed
    assert "Traceback" not in printed
    assert not (ROOT / NAME).exists()


def test_a_setting_that_is_none_is_a_usage_error() -> None:
    assert "'NAT' is not NAME=VALUE" in lab("up", "compose/nat.yaml", "--set", "NAT", status=2)


def test_the_demo_ends_with_a_mesh_whose_pings_all_work_and_leaves_nothing() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "integration.demo"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for host in ("alice/laptop", "bob/desktop", "carol/laptop", "dave/server"):
        assert result.stdout.count(host) == 4, "each is one's own line and three peers'"
    for kind in ("host", "srflx", "prflx"):
        assert f" {kind} " in result.stdout
    assert "no answer" not in result.stdout
    assert result.stdout.count(" ms") == 12 + 12, "round-trip times of 12 paths and 12 pings"
    assert not (ROOT / "demo").exists()
    assert "demo" not in namespaces.names()


def test_the_demo_stays_up_in_a_terminal_until_control_c() -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        # A background job, as the tests may be, ignores Ctrl-C, and so would whatever it starts.
        ["env", "--default-signal=INT", sys.executable, "-m", "integration.demo"],
        cwd=REPOSITORY,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as demo:
        os.close(terminal)
        printed = read_until(controller, "removes everything.")
        assert "demo" in namespaces.names(), "it stays up"
        demo.send_signal(signal.SIGINT)
        read_until(controller, "✓ removing everything again")
        assert demo.wait(timeout=20) == 0
    os.close(controller)
    assert "make demo-down" in printed
    assert not (ROOT / "demo").exists()
    assert "demo" not in namespaces.names()


def read_until(controller: int, text: str) -> str:
    """Read a terminal, as the program in it goes on, until it shows a text."""
    printed = b""
    while text not in without_colours(printed):
        try:
            printed += os.read(controller, 4096)
        except OSError:
            # The other end is closed: the program has ended.
            raise AssertionError(f"{text!r} never came: {without_colours(printed)}") from None
    return without_colours(printed)


def without_colours(printed: bytes) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode(errors="replace"))
