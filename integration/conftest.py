"""Fixtures of the integration tests, and what they leave when they fail."""

import argparse
import itertools
import os
import re
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from . import artifacts
from .guest import GUESTS, PATIENCE
from .guest.inside import Inside
from .guest.outside import Outside
from .lab import Lab, sweep
from .labs import EXECUTORS, docker
from .mesh import wait_connected
from .waiting import be_patient, patiently

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE = REPOSITORY / "compose"
ARTIFACTS = REPOSITORY / "artifacts"

_INSIDE = "guest-inside"
"""Name of the plug-in that is there only in a guest."""

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
    parser.addoption("--executor", choices=[*EXECUTORS, "guest"], default="namespaces")
    parser.addoption(
        "--guest", choices=GUESTS, default="uml", help="which guest, with --executor guest"
    )
    # pytest on the host gives it to the one in the guest.
    parser.addoption("--guest-records", type=int, default=None, help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """Declare how a test says what it runs on, and prepare that."""
    config.addinivalue_line(
        "markers",
        "executors(*names): what this test runs on, of namespaces, docker, and the guests qemu and "
        "uml; namespaces if it does not say",
    )
    config.addinivalue_line(
        "markers", "long: takes minutes in a guest; `make test-kernel` leaves it out"
    )
    executor = config.getoption("--executor")
    if executor != "guest":
        Lab.default_executor = executor
        return
    # In a guest are namespaces as everywhere.
    Lab.default_executor = "namespaces"
    channel = config.getoption("--guest-records")
    if channel is None:
        name = config.getoption("--guest")
        config.pluginmanager.register(Outside(name, ARTIFACTS / f"guest-{name}.log"))
    else:
        be_patient(PATIENCE[config.getoption("--guest")])
        config.pluginmanager.register(Inside(config, channel, REPOSITORY), _INSIDE)


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


@pytest.fixture(scope="module")
def pair(module_labs: Labs) -> Iterator[Lab]:
    """Two connected hosts whose Keybase all tests of a module disturb; no agent stumbles over that.

    They look at the team's members six times as often as hosts do by themselves.
    """
    lab = module_labs.up("pair.yaml", {"MEMBERSHIP_SECONDS": "5"})
    wait_connected(lab, ("alice", "bob"))
    yield lab
    for node in ("alice", "bob"):
        assert "Traceback" not in lab.logs(node)


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
        inside = item.config.pluginmanager.get_plugin(_INSIDE)
        if isinstance(inside, Inside):
            inside.send(directory)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the executor's tests, and give ours more time than unit tests have."""
    executor = config.getoption("--executor")
    wanted = config.getoption("--guest") if executor == "guest" else executor
    chosen = [item for item in items if wanted in _executors(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
    if wanted == "uml":
        # An hour there takes seconds here; the guest itself has a limit, by the host's clock.
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "integration") and not any(
            item.iter_markers("timeout")
        ):
            item.add_marker(pytest.mark.timeout(patiently(TIMEOUT_SECONDS)))


def _executors(item: pytest.Item) -> tuple[str, ...]:
    marker = item.get_closest_marker("executors")
    return marker.args if marker else ("namespaces",)


def _directory(nodeid: str) -> Path:
    return ARTIFACTS / re.sub(r"[^A-Za-z0-9_.-]+", "-", nodeid.removeprefix("integration/"))
