"""The team's configuration over time: kept for a restart, followed where it can be."""

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from sidecar.agent import team_settings
from sidecar.agent.team_settings import TeamSettings, read_team_config
from sidecar.errors import KbfsError
from sidecar.health import Health
from sidecar.keybase.client import KeybaseClient
from sidecar.settings import Settings
from sidecar.store import Store
from sidecar.team_config import Policy, TeamConfig

SUBNET = IPv4Network("100.64.7.0/24")
CONFIG = TeamConfig(subnet=SUBNET, stun_servers=("a:1",))


class Files(KeybaseClient):
    """A Keybase that answers what it is told to."""

    def __init__(self, answer: bytes | Exception | None) -> None:
        super().__init__()
        self.answer = answer

    async def read_file(self, path: str) -> bytes | None:
        assert path == "/keybase/team/acme.vpn/kbwg.json"
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer == b"never":
            await asyncio.sleep(3600)
        return self.answer


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_TEAM", "acme.vpn")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "kbwg0")
    store.prepare()
    return store


def read(answer: bytes | Exception | None, store: Store) -> TeamConfig:
    return asyncio.run(read_team_config(Files(answer), store, "acme.vpn"))


def test_what_was_read_serves_a_start_without_kbfs(store: Store) -> None:
    assert read(b'{"subnet": "100.64.7.0/24"}', store).subnet == SUBNET

    assert read(KbfsError("away"), store).subnet == SUBNET
    assert read(b'{"subn', store).subnet == SUBNET


def test_a_kbfs_that_does_not_answer_holds_a_start_up_for_a_moment_only(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(b'{"subnet": "100.64.7.0/24"}', store)
    monkeypatch.setattr(team_settings, "KNOWN_PATIENCE", 0.01)

    assert read(b"never", store).subnet == SUBNET


def test_a_file_that_was_removed_is_not_remembered(store: Store) -> None:
    read(b'{"policy": "mesh"}', store)

    assert read(None, store) == TeamConfig()
    assert read(KbfsError("away"), store) == TeamConfig()


def test_a_first_start_without_kbfs_knows_nothing(store: Store) -> None:
    assert read(KbfsError("away"), store) == TeamConfig()
    assert store.load_team_config() is None


def test_other_servers_and_another_policy_are_followed(store: Store) -> None:
    health = Health()
    held = TeamSettings(Settings.from_environment(), CONFIG, store, health)

    changed = held.take(
        CONFIG.model_copy(update={"policy": Policy.MESH, "stun_servers": ("b:1",)}), b"{}"
    )

    assert changed
    assert held.settings.stun_servers == ("b:1",)
    assert health.entries(later()) == ()


def test_the_same_again_is_no_change(store: Store) -> None:
    held = TeamSettings(Settings.from_environment(), CONFIG, store, Health())

    assert not held.take(CONFIG, b"{}")


def test_another_subnet_is_not_followed_but_told_and_all_else_is_followed(store: Store) -> None:
    health = Health()
    held = TeamSettings(Settings.from_environment(), CONFIG, store, health)
    other = TeamConfig(subnet=IPv4Network("100.64.9.0/24"), stun_servers=("b:1",))

    assert held.take(other, b'{"subnet": "100.64.9.0/24"}')
    assert not held.take(other, b"{}")

    assert held.settings.subnet == SUBNET
    assert held.settings.stun_servers == ("b:1",)
    assert [entry.code for entry in health.entries(later())] == ["team-config-differs"]
    assert store.load_team_config() == b'{"subnet": "100.64.9.0/24"}', "the next start follows"
    assert held.take(CONFIG, b"{}")
    assert health.entries(later()) == ()


def test_a_subnet_that_this_host_contradicts_does_not_keep_it_from_a_stricter_policy(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBWG_SUBNET", str(SUBNET))
    health = Health()
    lax = TeamConfig(policy=Policy.MESH, stun_servers=("a:1",))
    held = TeamSettings(Settings.from_environment(), lax, store, health)

    assert held.take(TeamConfig(subnet=IPv4Network("100.64.9.0/24")), b"{}")

    assert held.settings.subnet == SUBNET
    assert held.settings.stun_servers != ("a:1",)
    assert [entry.code for entry in health.entries(later())] == ["team-config-differs"]


def test_what_makes_no_sense_leaves_everything_as_it_is(store: Store) -> None:
    health = Health()
    held = TeamSettings(Settings.from_environment(), CONFIG, store, health)

    assert not held.take(CONFIG.model_copy(update={"turn_servers": ("nonsense",)}), b"{}")

    assert store.load_team_config() is None, "a start without KBFS needs what makes sense"
    assert held.settings.stun_servers == ("a:1",)
    assert [entry.code for entry in health.entries(later())] == ["team-config-differs"]


def test_a_file_that_no_longer_names_the_subnet_is_not_followed(store: Store) -> None:
    health = Health()
    held = TeamSettings(Settings.from_environment(), CONFIG, store, health)

    assert held.take(TeamConfig(), None), "the servers are gone"

    assert held.settings.subnet == SUBNET
    assert [entry.code for entry in health.entries(later())] == ["team-config-differs"]


def test_fields_that_are_not_known_are_told(store: Store) -> None:
    health = Health()
    held = TeamSettings(Settings.from_environment(), CONFIG, store, health)

    held.take(TeamConfig.model_validate({**CONFIG.model_dump(), "dns": 1}), b"{}")

    assert [entry.text for entry in health.entries(later())] == [
        "kbwg.json: this version does not know 'dns'"
    ]


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
