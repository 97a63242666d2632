"""TURN servers as operators name them (RFC 7065), and their credentials."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from nat.turn.server import SharedSecret, StaticCredentials, TurnServer, TurnTransport
from sidecar.errors import SettingsError
from sidecar.settings import Settings
from sidecar.turn_servers import parse_turn_uri, turn_servers

UDP, TCP, TLS = TurnTransport


@pytest.mark.parametrize(
    ("uri", "host", "port", "transport"),
    [
        # RFC 7065 §3.1, and Appendix A.
        ("turn:example.org", "example.org", 3478, UDP),
        ("turns:example.org", "example.org", 5349, TLS),
        ("turn:example.org:8000", "example.org", 8000, UDP),
        ("turn:example.org?transport=udp", "example.org", 3478, UDP),
        ("turn:example.org?transport=tcp", "example.org", 3478, TCP),
        ("turns:example.org?transport=tcp", "example.org", 5349, TLS),
        ("turns:example.org:443?transport=tcp", "example.org", 443, TLS),
        ("turn:[2001:db8::1]:3479", "2001:db8::1", 3479, UDP),
        ("TURN:192.0.2.1", "192.0.2.1", 3478, UDP),
    ],
)
def test_a_uri_names_host_port_and_transport(
    uri: str, host: str, port: int, transport: TurnTransport
) -> None:
    assert parse_turn_uri(uri) == TurnServer(host, port, transport)


@pytest.mark.parametrize(
    "uri",
    [
        "example.org",
        "stun:example.org",
        "turn://example.org",
        "turn:",
        "turn:example.org:0",
        "turn:example.org:x",
        "turn:example.org?transport=sctp",
        "turns:example.org?transport=udp",
        "turn:example.org?ttl=1",
    ],
)
def test_what_is_no_such_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_turn_uri(uri)


@pytest.mark.parametrize("uri", ["turn:example.org:3478", "turns:[2001:db8::1]:443"])
def test_a_server_is_shown_as_it_was_named(uri: str) -> None:
    assert str(parse_turn_uri(uri)) == uri


def test_a_secret_is_preferred_to_a_password_and_none_is_possible() -> None:
    def credentials(password: str | None, secret: str | None) -> object:
        (server,) = turn_servers(
            ["turn:example.org"],
            username="kbwg",
            password=password,
            secret=secret,
            wall=lambda: 0.0,
        )
        return server.credentials

    assert isinstance(credentials("p", "s"), SharedSecret)
    assert credentials("p", None) == StaticCredentials("kbwg", "p")
    assert credentials(None, None) is None


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("KBWG_TEAM", "acme.vpn")
    monkeypatch.setenv("KBWG_SUBNET", "100.64.7.0/24")
    monkeypatch.setenv("KBWG_TURN_SERVERS", "turn:a.example.org, turns:b.example.org:443")
    return monkeypatch


def test_servers_and_password_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KBWG_TURN_USERNAME", "kbwg")
    environment.setenv("KBWG_TURN_PASSWORD", "relay-me")

    settings = Settings.from_environment()

    assert [str(server) for server in settings.turn(lambda: 0.0)] == [
        "turn:a.example.org:3478",
        "turns:b.example.org:443",
    ]
    assert {s.credentials for s in settings.turn(lambda: 0.0)} == {
        StaticCredentials("kbwg", "relay-me")
    }
    assert "relay-me" not in repr(settings)


def test_secrets_may_lie_in_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("north\n")
    environment.setenv("KBWG_TURN_SECRET_FILE", str(file))

    (server, _) = Settings.from_environment().turn(lambda: 0.0)

    assert server.credentials == SharedSecret("north", "kbwg", lambda: 0.0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KBWG_TURN_SERVERS", "turn:a.example.org,http://b.example.org"),
        ("KBWG_TURN_SECRET_FILE", "/nowhere/secret"),
        ("KBWG_TURN_CA_FILE", "/nowhere/ca.pem"),
    ],
)
def test_what_cannot_be_is_named(
    environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    environment.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable):
        Settings.from_environment()


def test_a_team_without_servers_has_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KBWG_TURN_SERVERS", "none")

    assert Settings.from_environment().turn(lambda: 0.0) == ()
    with pytest.raises(ValidationError):
        Settings(turn_servers=("nonsense",))
