"""pytest outside and inside of a guest, whose part a process of the host plays."""

import subprocess
import sys
from pathlib import Path

import pytest

from integration.guest.job import REPOSITORY

CONFTEST = """
import shlex
import tempfile
from pathlib import Path

from integration.guest import machine, outside
from integration.guest.inside import Inside

HERE = Path(__file__).parent


class Played:
    def run(self, job, output, records):
        command = f"cd {HERE} && {shlex.join(job.argv)}"
        return machine.run(
            lambda channels: ["bash", "-c", "{}; {{ {}; }} >/dev/fd/{} 2>&1 3>/dev/fd/{}; "
                "echo exit $? >/dev/fd/{}".format(DEATH, command, *channels)],
            job, output, records, HERE / "console",
        )


DEATH = (HERE / "death").read_text() if (HERE / "death").exists() else "true"
outside.guest = lambda name, say: Played()


def pytest_addoption(parser):
    parser.addoption("--executor")
    parser.addoption("--guest")
    parser.addoption("--guest-records", type=int)


def pytest_configure(config):
    channel = config.getoption("--guest-records")
    if channel is None:
        config.pluginmanager.register(outside.Outside("uml", HERE / "artifacts" / "guest.log"))
    else:
        config.pluginmanager.register(Inside(config, channel, HERE))
"""

TESTS = """
import os
import pytest

def test_it_runs_inside(request):
    assert request.config.getoption("--guest-records") == 3

def test_it_fails():
    assert 1 + 1 == 3

@pytest.mark.skip(reason="no need")
def test_it_is_skipped():
    pass

def test_the_guest_dies():
    os._exit(77)

def test_it_comes_too_late():
    pass
"""


@pytest.fixture
def run(tmp_path: Path) -> "Run":
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_them.py").write_text(TESTS)
    return Run(tmp_path)


class Run:
    """Runs some of the tests; the output is that of pytest on the host."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, *names: str, death: str = "true") -> tuple[int, str]:
        (self._directory / "death").write_text(death)
        nodes = [f"test_them.py::test_{name}" for name in names]
        options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "-rA"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--rootdir=.", *options, *nodes],
            cwd=self._directory,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


def test_each_result_is_told_as_if_it_were_our_own(run: Run) -> None:
    code, text = run("it_runs_inside", "it_fails", "it_is_skipped")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed, 1 skipped" in text
    assert "assert (1 + 1) == 3" in text


def test_what_passes_inside_passes(run: Run) -> None:
    code, text = run("it_runs_inside", "it_is_skipped")
    assert code == pytest.ExitCode.OK, text


def test_a_run_of_which_all_was_skipped_fails(run: Run) -> None:
    code, text = run("it_is_skipped")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "all tests were skipped in the guest uml" in text


def test_tests_that_a_dead_guest_does_not_report_have_failed(run: Run) -> None:
    code, text = run("it_runs_inside", "the_guest_dies", "it_comes_too_late")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "2 failed, 1 passed" in text
    assert "ended with the status 77" in text


def test_a_guest_that_never_starts_fails_all(run: Run) -> None:
    code, text = run("it_runs_inside", "it_fails", death="echo 'Kernel panic'; kill -9 $$")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "2 failed" in text
    assert "Kernel panic" in text
