"""A start that fails half-way leaves nothing of its own, and touches nothing of others."""

import asyncio
import errno
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sidecar.agent import start
from sidecar.errors import InterfaceError, StartError
from sidecar.identity import PrivateKey
from sidecar.settings import Settings
from sidecar.store import Identity, Store
from tests.support.fake_backend import FakeBackend

IDENTITY = Identity(
    private_key=PrivateKey.generate(),
    username="alice",
    device_id="a" * 32,
    device="laptop",
    listen_port=20000,
)


class Attempt:
    """One creation of the interface, with what was removed after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.backend: Any = FakeBackend("kbwg0")
        self.store = Store(tmp_path)
        self.removed = 0
        self.settings = Settings(
            team="acme.vpn", subnet=IPv4Network("100.64.7.0/24"), firewall=False
        )
        monkeypatch.setattr(start, "remove_all", self._remove_all)

    def create(self) -> Identity:
        return asyncio.run(start._create(self.settings, self.backend, self.store, IDENTITY))

    async def _remove_all(self, *_: Any) -> None:
        self.removed += 1


@pytest.fixture(name="attempt")
def _attempt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Attempt:
    return Attempt(monkeypatch, tmp_path)


def test_what_was_made_is_kept_for_the_next_start(attempt: Attempt) -> None:
    assert attempt.create() == IDENTITY
    assert attempt.store.load_identity() == IDENTITY
    assert attempt.removed == 0


def test_a_disk_that_is_full_ends_the_start_with_nothing_left(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Identity) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(attempt.store, "save_identity", refuse)

    with pytest.raises(StartError, match="cannot be kept in the state directory"):
        attempt.create()
    assert attempt.removed == 1


def test_an_interface_that_somebody_else_has_just_made_is_not_removed(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def taken(_: str) -> None:
        raise InterfaceError("cannot create the interface: the name is taken")

    monkeypatch.setattr(attempt.backend, "create", taken)

    with pytest.raises(InterfaceError, match="the name is taken"):
        attempt.create()
    assert attempt.removed == 0
