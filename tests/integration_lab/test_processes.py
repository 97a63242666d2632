"""Processes are known by more than their pid."""

import os
import signal
import subprocess
from pathlib import Path

from integration.labs import processes
from integration.labs.processes import Process


def test_a_process_is_itself_until_it_ends() -> None:
    with subprocess.Popen(["sleep", "100"]) as popen:
        process = Process.of(popen.pid)
        assert process is not None
        assert process.alive
        assert process.signal(signal.SIGKILL)
        # Not yet waited for: only its remains are left.
        os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
        assert not process.alive
        assert not process.signal(signal.SIGKILL)
    assert Process.of(popen.pid) is None


def test_another_process_with_the_same_pid_is_never_signalled() -> None:
    with subprocess.Popen(["sleep", "100"]) as popen:
        process = Process.of(popen.pid)
        assert process is not None
        stranger = Process(process.pid, process.started - 1)
        assert not stranger.alive
        assert not stranger.signal(signal.SIGKILL)
        assert process.alive
        popen.kill()


def test_a_name_with_parentheses_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) Z 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "100"]) as popen:
        assert (found := Process.of(popen.pid)) is not None
        assert found.alive
        popen.kill()


def test_a_namespace_that_is_not_there_holds_no_process() -> None:
    assert processes.in_network_namespace(Path("/nonexistent")) == []


def test_our_own_namespace_holds_us() -> None:
    me = Process.of(os.getpid())
    assert me in processes.in_network_namespace(Path("/proc/self/ns/net"))
