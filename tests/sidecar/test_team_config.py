"""`kbwg.json`: what the team says, what a host may say otherwise, and what it may not."""

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sidecar.team_config
from sidecar.agent.team_settings import settle
from sidecar.errors import SettingsError, TeamConfigError
from sidecar.settings import Settings
from sidecar.team_config import SHARED, TEAM_ONLY, Policy, TeamConfig, parse_team_config

SUBNET = IPv4Network("100.64.7.0/24")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_TEAM", "acme.vpn")


def test_an_empty_object_says_nothing() -> None:
    config = parse_team_config(b"{}")

    assert config == TeamConfig()
    assert config.policy is Policy.ROLES
    assert config.defaults() == {}


def test_a_team_may_say_what_the_subnet_is_so_that_a_host_needs_not() -> None:
    config = parse_team_config(b'{"subnet": "100.64.7.0/24"}')

    assert settle(Settings.from_environment(), config).subnet == SUBNET


def test_without_a_subnet_anywhere_the_start_says_so() -> None:
    with pytest.raises(SettingsError, match="KBWG_SUBNET: is not set, and"):
        settle(Settings.from_environment(), TeamConfig())


def test_what_the_whole_team_must_have_alike_may_not_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KBWG_SUBNET", "100.64.8.0/24")
    monkeypatch.setenv("KBWG_TOPIC", "other")
    config = TeamConfig(subnet=SUBNET, topic="announce")

    with pytest.raises(SettingsError) as refusal:
        settle(Settings.from_environment(), config)

    lines = str(refusal.value).splitlines()
    assert lines[0].startswith("KBWG_SUBNET: is 100.64.8.0/24 here and 100.64.7.0/24 in the team's")
    assert lines[1].startswith("KBWG_TOPIC: is other here and announce in the team's")


def test_what_is_said_alike_twice_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_SUBNET", "100.64.7.0/24")

    assert settle(Settings.from_environment(), TeamConfig(subnet=SUBNET)).subnet == SUBNET


def test_a_hosts_own_environment_goes_before_the_teams_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KBWG_STUN_SERVERS", "mine:1")
    config = TeamConfig(subnet=SUBNET, stun_servers=("ours:1", "ours:2"), mtu=1300)

    settings = settle(Settings.from_environment(), config)

    assert settings.stun_servers == ("mine:1",)
    assert settings.mtu == 1300


def test_an_empty_list_of_servers_is_none_at_all() -> None:
    config = TeamConfig(subnet=SUBNET, stun_servers=())

    assert settle(Settings.from_environment(), config).stun_servers == ()


def test_a_default_that_makes_no_sense_is_refused_by_name() -> None:
    config = TeamConfig(subnet=SUBNET, stun_servers=("host:99999",))

    with pytest.raises(SettingsError, match=r"kbwg\.json makes no sense:\nKBWG_STUN_SERVERS"):
        settle(Settings.from_environment(), config)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"subnet": "nowhere"}',
        b'{"policy": "anarchy"}',
        b'{"v": 2}',
        b'{"topic": "no spaces"}',
        b'{"stun_servers": "a:1"}',
        b'{"mtu": 100}',
        b'{"turn_password"',
        b"[" * 100_000,
        b"x" * 100_000,
    ],
)
def test_a_file_that_is_torn_or_wrong_is_refused(content: bytes) -> None:
    with pytest.raises(TeamConfigError):
        parse_team_config(content)


def test_a_refusal_repeats_no_secret() -> None:
    with pytest.raises(TeamConfigError) as refusal:
        parse_team_config(b'{"turn_password": ["hunter2"], "turn_secret": 5}')

    assert "hunter2" not in str(refusal.value)
    assert "turn_password" in str(refusal.value)


def test_a_representation_shows_no_secret() -> None:
    config = TeamConfig(turn_password="hunter2", turn_secret="hunter3")

    assert "hunter" not in repr(config)


def test_fields_of_later_versions_are_left_alone_and_named() -> None:
    assert parse_team_config(b'{"dns": {}, "color": 1}').unknown == ("color", "dns")


def test_every_default_is_a_setting_or_stands_for_the_team_alone() -> None:
    later = {"turn_servers", "turn_username", "turn_password", "turn_secret"}
    fields = set(TeamConfig.model_fields) - TEAM_ONLY - later

    assert fields <= set(Settings.model_fields)
    assert fields >= SHARED


def test_the_published_schema_is_that_of_the_model() -> None:
    published = Path(sidecar.team_config.__file__).with_name("team_config.schema.json")

    assert json.loads(published.read_text()) == TeamConfig.model_json_schema()


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_configuration_or_an_error_of_ours(content: bytes) -> None:
    try:
        parse_team_config(content)
    except TeamConfigError:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(TeamConfig.model_fields)), json_values))
def test_any_values_of_known_fields_are_a_configuration_or_an_error_of_ours(
    document: dict[str, object],
) -> None:
    try:
        config = parse_team_config(json.dumps(document).encode())
    except TeamConfigError:
        return
    try:
        settle(Settings.from_environment(), config)
    except SettingsError:
        pass
