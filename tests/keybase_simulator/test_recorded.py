"""Answers of the real binary (6.3.0, logged out, no network), replayed on the simulator."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.keybase_simulator.admin import SimulatorAdmin

ROOT = Path(__file__).parents[2]
KEYBASE = ROOT / "integration/keybase_simulator/bin/keybase"
RECORDED = [
    json.loads(line) for line in Path(__file__).with_name("recorded.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    root = tmp_path_factory.mktemp("sim")
    server = subprocess.Popen(
        [sys.executable, "-m", "integration.keybase_simulator.server", "--root", str(root)],
        cwd=ROOT,
        env={
            **os.environ,
            "SIMULATOR_TEAM": "acme.vpn",
            "SIMULATOR_MEMBERS": "alice=owner",
            "SIMULATOR_DEVICES": "alice/laptop",
        },
    )
    socket = root / "alice/laptop/keybased.sock"
    admin = root / "admin.sock"
    deadline = time.monotonic() + 10
    while not admin.exists():
        assert time.monotonic() < deadline, "the simulator did not start"
        time.sleep(0.02)
    environment = {
        **os.environ,
        "KEYBASE_SOCKET_FILE": str(socket),
        "KEYBASE_ALLOW_ROOT": "1",
        "KEYBASE_NO_AUTO_FORK": "1",
    }
    SimulatorAdmin(root).set("alice/laptop", "logged_in", False)
    yield environment
    server.terminate()
    server.wait(10)


def normal(text: str) -> str:
    return re.sub(
        r"^\S+Z ▶ \[ERRO keybase main\.go:\d+\] \d+ ", "<ERRO> ", text, flags=re.MULTILINE
    )


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: " ".join(case["argv"])[:60])
def test_answers_like_the_real_binary(case: dict[str, Any], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [KEYBASE, *case["argv"]],
        input=case.get("stdin", ""),
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    out = "(usage text)" if done.stdout.startswith("NAME:") else done.stdout
    assert (done.returncode, out, normal(done.stderr)) == (case["rc"], case["out"], case["err"])
