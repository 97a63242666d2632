"""Settings: what the environment may say, and what an error may reveal."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import SettingsError
from sidecar.host_port import parse_host_port
from sidecar.settings import Settings


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_TEAM", "Acme.VPN")
    monkeypatch.setenv("KBWG_SUBNET", "100.64.7.0/24")


def test_a_team_and_a_subnet_are_enough() -> None:
    settings = Settings.from_environment()

    assert settings.team == "acme.vpn"
    assert settings.subnet == IPv4Network("100.64.7.0/24")
    assert settings.backend == "auto"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_STUN_SERVERS", "a:1, [2001:db8::1]:2 ,c")

    assert Settings.from_environment().stun_servers == ("a:1", "[2001:db8::1]:2", "c")


def test_stun_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_STUN_SERVERS", "none")

    assert Settings.from_environment().stun_servers == ()


def test_endpoints_of_both_families_can_be_advertised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_ADVERTISE", "203.0.113.1:7000,[2001:db8::1]:7001")

    assert Settings.from_environment().advertise == ("203.0.113.1:7000", "[2001:db8::1]:7001")


def test_a_mark_may_be_hexadecimal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBWG_FWMARK", "0x1F")

    assert Settings.from_environment().fwmark == 31


def test_each_interface_has_a_mark_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {}
    for interface in ("kbwg0", "kbwg1", "kbwg12", "kbwg99999", "work", "home"):
        monkeypatch.setenv("KBWG_INTERFACE", interface)
        marks[interface] = Settings.from_environment().fwmark

    assert marks["kbwg0"] == 0x6B62
    assert marks["kbwg1"] == 0x6B63
    assert len(set(marks.values())) == len(marks)
    assert all(0 < mark <= 0xFFFFFFFF for mark in marks.values())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KBWG_TEAM", "no spaces allowed"),
        ("KBWG_TEAM", ""),
        ("KBWG_SUBNET", "100.64.7.1/24"),
        ("KBWG_SUBNET", "224.0.0.0/24"),
        ("KBWG_SUBNET", "10.0.0.0/31"),
        ("KBWG_SUBNET", "fd00::/64"),
        ("KBWG_INTERFACE", "a-name-that-is-too-long"),
        ("KBWG_LISTEN_PORT", "0"),
        ("KBWG_LISTEN_PORT", "hunter2"),
        ("KBWG_STUN_SERVERS", "host:99999"),
        ("KBWG_STUN_SERVERS", ":3478"),
        ("KBWG_ADVERTISE", "example.org:1"),
        ("KBWG_ADVERTISE", "203.0.113.1"),
        ("KBWG_ADVERTISE", "[fe80::1]:7000"),
        ("KBWG_ADVERTISE", "127.0.0.1:7000"),
        ("KBWG_PORT_MAPPING", "perhaps"),
        ("KBWG_BACKEND", "quantum"),
        ("KBWG_MTU", "100"),
        ("KBWG_FWMARK", "mark"),
        ("KBWG_ANNOUNCE_INTERVAL_SECONDS", "3600"),
        ("KBWG_MEMBERSHIP_INTERVAL_SECONDS", "61"),
        ("KBWG_LOG_LEVEL", "loud"),
    ],
)
def test_what_makes_no_sense_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()

    assert str(caught.value).startswith(f"{variable}: ")
    assert not value or value not in str(caught.value).partition(": ")[2]


def test_everything_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KBWG_TEAM")
    monkeypatch.setenv("KBWG_MTU", "1")

    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()

    assert {line.partition(":")[0] for line in str(caught.value).splitlines()} == {
        "KBWG_TEAM",
        "KBWG_MTU",
    }


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.from_environment().team = "other"  # type: ignore[misc]


def test_every_variable_is_documented() -> None:
    undocumented = [n for n, field in Settings.model_fields.items() if not field.description]

    assert undocumented == []


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a", ("a", 3478)),
        ("a:1", ("a", 1)),
        ("[2001:db8::1]:1", ("2001:db8::1", 1)),
        ("[2001:db8::1]", ("2001:db8::1", 3478)),
        ("2001:db8::1", ("2001:db8::1", 3478)),
    ],
)
def test_reads_a_host_with_or_without_a_port(text: str, parsed: tuple[str, int]) -> None:
    assert parse_host_port(text, 3478) == parsed


@given(st.text(max_size=30))
def test_any_text_is_a_host_and_a_port_or_a_value_error(text: str) -> None:
    try:
        host, port = parse_host_port(text, 3478)
    except ValueError:
        return
    assert host
    assert 0 < port < 65536


@pytest.mark.parametrize(
    ("stale", "interval", "valid"),
    [
        ("0", "30", True),
        ("59", "30", False),
        ("60", "30", True),
        ("20", "5", True),
    ],
)
def test_members_are_not_stale_before_the_next_look_at_them(
    monkeypatch: pytest.MonkeyPatch, stale: str, interval: str, valid: bool
) -> None:
    monkeypatch.setenv("KBWG_MAX_STALE_SECONDS", stale)
    monkeypatch.setenv("KBWG_MEMBERSHIP_INTERVAL_SECONDS", interval)

    if valid:
        assert Settings.from_environment().max_stale_seconds == float(stale)
        return
    with pytest.raises(SettingsError, match="0, or 60 and more"):
        Settings.from_environment()
