"""pytest in a guest: reports to the one on the host as it goes."""

from pathlib import Path

import pytest

from . import records


class Inside:
    """A plug-in.

    Args:
        config: pytest's own.
        channel: the file descriptor that records are written to.
        root: below this are a failed test's artifacts.
    """

    def __init__(self, config: pytest.Config, channel: int, root: Path) -> None:
        self._config = config
        self._channel = channel
        self._root = root

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Pass a report on."""
        content = self._config.hook.pytest_report_to_serializable(
            config=self._config, report=report
        )
        records.write(self._channel, records.Report(content))

    def send(self, directory: Path) -> None:
        """Send a directory to the host: here it dies with the guest."""
        records.write(self._channel, records.pack(directory, self._root))
