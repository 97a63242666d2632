"""pytest on the host: its chosen tests run in one guest, and are reported as if they ran here."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from ..errors import LabError
from . import GuestName
from .job import RECORDS, REPOSITORY, Job
from .kinds import guest
from .records import Decoder, Files, Report, unpack
from .terminal import say

SECONDS: Final = 1800.0
"""For all tests together, on a busy machine; the guest is killed then."""

_SHOWN: Final = 60
"""Lines of the guest's output that a test which never ended shows."""


class Outside:
    """A plug-in that replaces the loop over the tests.

    Args:
        name: the kind of guest.
        log: takes what pytest prints in the guest.
    """

    def __init__(self, name: GuestName, log: Path) -> None:
        self._name = name
        self._log = log
        self._done: set[str] = set()
        self._passed_or_failed = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run what was collected in a guest."""
        if session.testsfailed or session.config.option.collectonly:
            return None  # pytest's own loop knows what to do
        if not session.items:
            session.shouldfail = f"no test is meant for the guest {self._name}"
            raise session.Failed(session.shouldfail)
        error = self._run(session)
        missing = [item for item in session.items if item.nodeid not in self._done]
        if not session.shouldfail and missing and not session.config.getoption("maxfail"):
            self._report_missing(session, missing, error or "its result never came")
        if error is not None:
            session.shouldfail = error.partition("\n")[0]
        elif not self._passed_or_failed:
            session.shouldfail = f"all tests were skipped in the guest {self._name}"
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        return True

    def _run(self, session: pytest.Session) -> str | None:
        """Run the guest; gives what went wrong with it."""
        decoder = Decoder()

        def take(data: bytes) -> None:
            for record in decoder.feed(data):
                match record:
                    case Report(content):
                        self._take(session, content)
                    case Files():
                        unpack(record, REPOSITORY)

        self._log.parent.mkdir(exist_ok=True)
        with self._log.open("wb") as log:
            try:
                status = guest(self._name, say).run(self._job(session), log.write, take)
            except LabError as error:
                return str(error)
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return f"pytest in the guest ended with the status {status}"
        return None

    def _job(self, session: pytest.Session) -> Job:
        options = [
            "--executor=guest",
            f"--guest={self._name}",
            f"--guest-records={RECORDS}",
        ]
        options += [f"--maxfail={session.config.getoption('maxfail') or 0}"]
        # What a guest is too slow to load for nothing, and what would be written in vain.
        options += ["-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
        nodes = [item.nodeid for item in session.items]
        return Job(
            argv=[sys.executable, "-m", "pytest", "-v", *options, *nodes],
            seconds=SECONDS,
            environment={"KBWG_BACKEND": "kernel"},
        )

    def _take(self, session: pytest.Session, content: dict[str, object]) -> None:
        hook = session.config.hook
        if isinstance(where := content["longrepr"], list):
            # File, line and reason of a skipped test; JSON has no tuples.
            content["longrepr"] = tuple(where)
        report = hook.pytest_report_from_serializable(config=session.config, data=content)
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "call":
            self._passed_or_failed += 1 if report.outcome != "skipped" else 0
        if report.when == "teardown":
            self._done.add(report.nodeid)
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)

    def _report_missing(
        self, session: pytest.Session, items: Sequence[pytest.Item], why: str
    ) -> None:
        printed = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:]
        text = "\n".join([why, f"what the guest printed last ({self._log}):", *printed])
        for item in items:
            report = pytest.TestReport(
                nodeid=item.nodeid,
                location=item.location,
                keywords={},
                outcome="failed",
                longrepr=text,
                when="call",
            )
            session.config.hook.pytest_runtest_logreport(report=report)
            text = "did not run either"
