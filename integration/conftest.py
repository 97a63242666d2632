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
from .labs import EXECUTORS, docker

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE = REPOSITORY / "compose"
ARTIFACTS = REPOSITORY / "artifacts"

TIMEOUT_SECONDS = 180
"""For a test that does not say otherwise: some wait for a minute of silence."""


class Labs:
    """Makes labs with names of their own."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self._mine: list[Lab] = []

    def up(
        self,
        file: str,
        settings: Mapping[str, str] | None = None,
        *,
        services: Sequence[str] | None = None,
    ) -> Lab:
        """Start a topology of `compose/`; it ends with the fixture's scope."""
        name = f"test{os.getpid()}-{next(self._numbers)}"
        lab = Lab.up(COMPOSE / file, settings, name, services=services)
        self._mine.append(lab)
        return lab

    def down(self) -> None:
        for lab in self._mine:
            lab.down()
        self._mine.clear()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the same tests run on another executor."""
    parser.addoption("--executor", choices=EXECUTORS, default="namespaces")


def pytest_configure(config: pytest.Config) -> None:
    """Declare how a test says what it runs on."""
    config.addinivalue_line(
        "markers", "executors(*names): what this test runs on; namespaces if it does not say"
    )
    Lab.default_executor = config.getoption("--executor")


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Namespaces need root, and nothing here means anything without them."""
    if os.geteuid() != 0:
        pytest.fail("the integration tests make network namespaces: run them as root", False)
    if Lab.default_executor == "docker":
        # Its reason fails every test, so that a missing engine is never a skipped test.
        docker.provide("images")
    sweep()


@pytest.fixture
def labs() -> Iterator[Labs]:
    """Labs for one test."""
    factory = Labs()
    yield factory
    factory.down()


@pytest.fixture(scope="module")
def module_labs() -> Iterator[Labs]:
    """Labs for all tests of a module."""
    factory = Labs()
    yield factory
    factory.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Say where labs that end by an error leave what is known of them."""
    Lab.artifacts = _directory(item.nodeid)
    shutil.rmtree(Lab.artifacts, ignore_errors=True)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect artifacts while the labs that a failed test was lent still stand."""
    report = yield
    directory = _directory(item.nodeid)
    if report.failed and call.when != "teardown":
        for lab in Lab.live:
            artifacts.collect(lab, directory / lab.name)
    if report.failed and directory.exists():
        report.sections.append(("artifacts", f"logs, rules and status of all nodes: {directory}"))
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the executor's tests, and give ours more time than unit tests have."""
    chosen = [item for item in items if Lab.default_executor in _executors(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "integration") and not any(
            item.iter_markers("timeout")
        ):
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


def _executors(item: pytest.Item) -> tuple[str, ...]:
    marker = item.get_closest_marker("executors")
    return marker.args if marker else ("namespaces",)


def _directory(nodeid: str) -> Path:
    return ARTIFACTS / re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid.removeprefix("integration/"))
