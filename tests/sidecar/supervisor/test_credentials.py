from pathlib import Path

import pytest

from sidecar.capabilities import Capability
from sidecar.errors import PrivilegeError
from sidecar.supervisor.credentials import LAUNCHER, Credentials

from ..test_preflight import host

ALL = frozenset(Capability)
NET = frozenset({Capability.NET_ADMIN, Capability.NET_RAW})


def test_the_user_itself_gets_capabilities_through_the_launcher_only() -> None:
    credentials = Credentials.of(host(uid=1000, effective=frozenset(), bounding=NET))

    assert credentials.agent_command(["kbwg", "run"]) == [
        str(LAUNCHER),
        "--inh-caps=+net_admin,+net_raw",
        "--ambient-caps=+net_admin,+net_raw",
        "--",
        "kbwg",
        "run",
    ]


def test_only_what_the_container_has_is_handed_on() -> None:
    admin = frozenset({Capability.NET_ADMIN})

    command = Credentials.of(host(uid=1000, bounding=admin)).agent_command(["kbwg", "run"])

    assert "--ambient-caps=+net_admin" in command


def test_root_without_the_right_to_change_its_user_is_told_so() -> None:
    with pytest.raises(PrivilegeError, match="--user kbwg"):
        Credentials.of(host(uid=0, effective=NET, bounding=NET))


def test_root_on_a_system_without_the_user_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.supervisor.credentials.USER", "nobody-has-this-name")
    with pytest.raises(PrivilegeError, match="no user nobody-has-this-name"):
        Credentials.of(host(uid=0, effective=ALL, bounding=ALL))


def test_root_changes_the_user_for_each_program() -> None:
    credentials = Credentials(1000, 1001, change=True, granted=(Capability.NET_ADMIN,))

    command = credentials.agent_command(["kbwg", "run"])

    assert command[:4] == ["setpriv", "--reuid=1000", "--regid=1001", "--clear-groups"]
    assert command[-3:] == ["--", "kbwg", "run"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    mine = Credentials(1000, 1000, change=False, granted=())
    mine.own(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700

    (tmp_path / "file").touch()
    with pytest.raises(PrivilegeError, match="file/state cannot be made"):
        mine.own(tmp_path / "file" / "state")
