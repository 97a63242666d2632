"""The state directory survives crashes and junk."""

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import StartError
from sidecar.identity import PrivateKey
from sidecar.store import Identity, Store

IDENTITY = Identity(
    private_key=PrivateKey(bytes(range(32))).clamped(),
    username="alice",
    device_id="ab" * 16,
    device="laptop",
    listen_port=41000,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "kbwg0")
    store.prepare()
    return store


def test_an_identity_comes_back_as_it_was(store: Store) -> None:
    store.save_identity(IDENTITY)

    assert store.load_identity() == IDENTITY


def test_only_we_can_read_the_key(store: Store, tmp_path: Path) -> None:
    store.save_identity(IDENTITY)

    path = tmp_path / "kbwg0" / "identity.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_first_start_finds_nothing(store: Store) -> None:
    assert store.load_identity() is None
    assert store.load_directory() is None


def test_the_key_is_not_shown() -> None:
    assert IDENTITY.private_key.to_base64() not in repr(IDENTITY)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_a_damaged_identity_is_set_aside(store: Store, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kbwg0" / "identity.json"
    path.write_bytes(content)

    assert store.load_identity() is None
    assert not path.exists()
    assert path.with_suffix(".invalid").read_bytes() == content


def test_a_file_of_somebody_elses_size_is_set_aside(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "kbwg0" / "directory.json"
    with path.open("wb") as file:
        file.truncate(17 * 2**20)

    assert store.load_directory() is None
    assert not path.exists()


def test_forgetting_removes_everything(store: Store, tmp_path: Path) -> None:
    store.save_identity(IDENTITY)
    store.save_directory([b"{", b"}"])

    store.forget()
    store.forget()

    assert list((tmp_path / "kbwg0").iterdir()) == []


def test_a_place_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartError, match="KBWG_STATE_DIR"):
        Store(tmp_path / "file" / "kbwg0").prepare()
