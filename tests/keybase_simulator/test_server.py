"""The server as a process, and the laboratory's command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import PATIENCE, REPOSITORY, Host, wait_for_socket


def module(name: str, *args: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", f"integration.keybase_simulator.{name}", *args]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    described = {"SIMULATOR_MEMBERS": "alice=owner", "SIMULATOR_DEVICES": "alice/laptop,bob/a b"}
    process = subprocess.Popen(
        module("server", "--root", tmp_path), cwd=REPOSITORY, env=os.environ | described
    )
    try:
        wait_for_socket(tmp_path)
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_sockets(
    server: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    assert Host(tmp_path, "bob/a b").run("whoami").out == "bob\n"

    server.send_signal(number)

    assert server.wait(PATIENCE) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []


def test_a_server_takes_over_the_sockets_of_one_that_was_killed(
    server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    server.kill()
    server.wait(PATIENCE)
    described = {"SIMULATOR_DEVICES": "alice/laptop"}
    second = subprocess.Popen(
        module("server", "--root", tmp_path), cwd=REPOSITORY, env=os.environ | described
    )
    try:
        done = Host(tmp_path, "alice/laptop").run("ctl", "wait")
        assert done.code == 0
    finally:
        second.terminate()
        second.wait(PATIENCE)


def test_orders_are_given_by_command_line(server: subprocess.Popen[bytes], tmp_path: Path) -> None:
    def order(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            module("admin", "--root", tmp_path, *words),
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip

    said = order("say", "acme.vpn", "announce", "alice/laptop", "hello")
    refused = order("set", "alice/laptop", "mood", "good")
    dump = order("dump")

    assert (said.returncode, said.stdout) == (0, "3\n")
    assert (refused.returncode, refused.stderr) == (
        1,
        "simulator: a device has no mood to set\n",
    )
    assert json.loads(dump.stdout)["teams"] == {"acme.vpn": {"alice": "owner", "bob": "writer"}}
