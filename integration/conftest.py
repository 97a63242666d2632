"""Fixtures of the integration tests, and what they leave when they fail."""

import itertools
import os
import re
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from . import artifacts
from .lab import Lab, sweep

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE = REPOSITORY / "compose"
ARTIFACTS = REPOSITORY / "artifacts"

TIMEOUT_SECONDS = 180
"""For a test that does not say otherwise: some wait for a minute of silence."""


class Labs:
    """Makes labs whose remains are kept when a test fails."""

    live: list[Lab] = []  # noqa: RUF012 - one list for the process: the hook below has no fixture
    _numbers = itertools.count(1)

    def __init__(self, failures: Path) -> None:
        self._failures = failures
        self._mine: list[Lab] = []

    def up(
        self,
        file: str,
        settings: Mapping[str, str] | None = None,
        *,
        services: Sequence[str] | None = None,
    ) -> Lab:
        """Start a topology of `compose/`; it ends with the fixture's scope."""
        lab = Lab.up(
            COMPOSE / file,
            settings,
            f"test{os.getpid()}-{next(self._numbers)}",
            services=services,
            artifacts=self._failures / "start",
        )
        self._mine.append(lab)
        self.live.append(lab)
        return lab

    def down(self) -> None:
        for lab in self._mine:
            self.live.remove(lab)
            lab.down()
        self._mine.clear()


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Namespaces need root, and nothing here means anything without them."""
    if os.geteuid() != 0:
        pytest.fail("the integration tests make network namespaces: run them as root", False)
    sweep()


@pytest.fixture
def labs(request: pytest.FixtureRequest) -> Iterator[Labs]:
    """Labs for one test."""
    factory = Labs(_directory(request.node.nodeid))
    yield factory
    factory.down()


@pytest.fixture(scope="module")
def module_labs(request: pytest.FixtureRequest) -> Iterator[Labs]:
    """Labs for all tests of a module."""
    factory = Labs(_directory(request.node.nodeid))
    yield factory
    factory.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect artifacts while the labs of a failed test still stand."""
    report = yield
    if report.failed and call.when != "teardown" and Labs.live:
        directory = _directory(item.nodeid)
        shutil.rmtree(directory, ignore_errors=True)
        for lab in Labs.live:
            artifacts.collect(lab, directory / lab.name)
        report.sections.append(("artifacts", f"of every node are in {directory}"))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give our tests more time than unit tests have."""
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "integration") and not any(
            item.iter_markers("timeout")
        ):
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


def _directory(nodeid: str) -> Path:
    return ARTIFACTS / re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid.removeprefix("integration/"))
