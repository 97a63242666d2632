"""As whom the CLI is run; its processes themselves are seen by test_client.py."""

import os
from pathlib import Path

import pytest

from sidecar.keybase import process

OTHER = 4321
"""Somebody who is neither root nor runs these tests."""


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def owned_by(path: Path, uid: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a directory seem to be somebody's: only root could give it away."""
    fields = list(path.stat())
    fields[4], fields[5] = uid, uid + 1
    monkeypatch.setattr(Path, "stat", lambda *_, **__: os.stat_result(fields))
    return path


@pytest.mark.usefixtures("root")
def test_root_runs_it_as_the_owner_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = owned_by(tmp_path, OTHER, monkeypatch)

    prefix = process.as_owner(home)

    assert prefix == ("setpriv", f"--reuid={OTHER}", f"--regid={OTHER + 1}", "--clear-groups", "--")


@pytest.mark.usefixtures("root")
def test_a_home_of_roots_is_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert process.as_owner(owned_by(tmp_path, 0, monkeypatch)) == ()


@pytest.mark.usefixtures("root")
def test_a_home_that_root_may_not_look_at_belongs_to_whoever_hides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's root without CAP_DAC_OVERRIDE."""
    home = tmp_path / "keybase"
    fields = list(tmp_path.stat())
    fields[4], fields[5] = OTHER, OTHER

    def stat(path: Path) -> os.stat_result:
        if path == home:
            raise PermissionError
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat)

    assert f"--reuid={OTHER}" in process.as_owner(home)


@pytest.mark.usefixtures("root")
def test_of_a_home_that_is_not_there_the_cli_tells(tmp_path: Path) -> None:
    assert process.as_owner(tmp_path / "absent") == ()


def test_who_is_not_root_is_only_himself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)

    assert process.as_owner(owned_by(tmp_path, OTHER + 1, monkeypatch)) == ()
