from collections.abc import Iterator

import pytest

from . import support
from .support import Simulator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with support.simulator(tmp_path_factory.mktemp("keybase")) as running:
        yield running


@pytest.fixture
def keybase(shared: Simulator) -> Iterator[Simulator]:
    """A simulator that its module shares: tests use a channel and files of their own."""
    yield shared
    shared.stop_processes()


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """A simulator for one test that breaks it."""
    with support.simulator(tmp_path_factory.mktemp("keybase")) as running:
        yield running
