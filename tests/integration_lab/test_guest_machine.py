import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from integration.guest import machine
from integration.guest.job import GuestError, Job
from integration.guest.machine import Channels


class Run:
    """Plays a guest by a shell script, to whom the channels are $output, $records and $status."""

    def __init__(self, script: str, seconds: float = 20.0) -> None:
        self.output, self.records = bytearray(), bytearray()
        self._script = script
        self._job = Job(argv=["true"], seconds=seconds)

    def __call__(self, console: Path) -> int:
        return machine.run(
            self._command, self._job, self.output.extend, self.records.extend, console
        )

    def _command(self, channels: Channels) -> list[str]:
        variables = "output=/dev/fd/{} records=/dev/fd/{} status=/dev/fd/{}".format(*channels)
        return ["bash", "-c", f"{variables}; {self._script}"]


@pytest.mark.parametrize("status", [0, 1, 7, 137, 255])
def test_the_commands_own_status_comes_back(tmp_path: Path, status: int) -> None:
    assert Run(f"echo 'exit {status}' >$status; exit 3")(tmp_path / "console") == status


def test_output_and_records_come_back_whole_and_apart(tmp_path: Path) -> None:
    run = Run("head -c 3000000 /dev/zero >$output; echo record >$records; echo 'exit 0' >$status")
    assert run(tmp_path / "console") == 0
    assert run.output == bytes(3_000_000)
    assert run.records == b"record\n"


def test_a_guest_that_dies_shows_its_console(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match=r"(?s)died.*Kernel panic - not syncing"):
        Run("echo 'Kernel panic - not syncing'; kill -9 $$")(tmp_path / "console")


def test_the_end_of_time_ends_the_guest_and_all_that_it_has_started(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(GuestError, match=r"(?s)after 1 s.*booting"):
        Run("echo booting; sleep 300 & sleep 301", seconds=1)(tmp_path / "console")
    assert time.monotonic() - began < 10


def test_what_a_guest_leaves_running_holds_nobody_up(tmp_path: Path) -> None:
    began = time.monotonic()
    assert Run("sleep 300 & echo 'exit 0' >$status")(tmp_path / "console") == 0
    assert time.monotonic() - began < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="without root only the guest itself ends")
def test_neither_a_guest_nor_what_it_has_started_outlives_who_runs_it(tmp_path: Path) -> None:
    mark = f"300.{os.getpid()}"
    guest = f"setsid sleep {mark} & sleep {mark}"
    script = (
        "from pathlib import Path; from tests.integration_lab.test_guest_machine import Run; "
        f"Run({guest!r}, 300)(Path({str(tmp_path / 'console')!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as runner:
        _wait(lambda: _sleepers(mark) == 2)
        runner.send_signal(signal.SIGKILL)
    _wait(lambda: _sleepers(mark) == 0)


def test_a_job_is_a_script_whose_environment_is_its_own() -> None:
    job = Job(
        argv=["sh", "-c", "echo $WORD:$KBWG_NONE; exit 5"],
        seconds=1,
        environment={"WORD": "a b"},
    )
    done = subprocess.run(
        ["sh", "-c", job.script],
        env={**os.environ, "KBWG_NONE": "the host's"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("a b:\n", 5)


def _sleepers(mark: str) -> int:
    """Count the processes that sleep for just so long."""
    count = 0
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            count += entry.read_bytes() == f"sleep\0{mark}\0".encode()
    return count


def _wait(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
