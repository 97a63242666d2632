"""The status as a person reads it, whatever others are called."""

import io
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest
from rich.console import Console

from sidecar.status import HealthEntry, PeerState, PeerStatus, SelfStatus, Severity, Status
from sidecar.table import render
from sidecar.terminal import plain

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def shown(device: str, text: str, endpoint: str) -> str:
    peer = PeerStatus(
        username="bob",
        device=device,
        ip=IPv4Address("100.64.7.2"),
        public_key="key",
        state=PeerState.CONNECTED,
        path=None,
        endpoint=endpoint,
        rx_bytes=5,
        tx_bytes=2048,
        last_handshake=NOW,
    )
    own = SelfStatus(
        username="alice",
        device="laptop",
        ip=IPv4Address("100.64.7.1"),
        public_key="key",
        listen_port=20000,
        candidates=(),
        backend="kernel",
        interface="kbwg0",
        team="acme",
        subnet="100.64.7.0/24",
    )
    health = HealthEntry(code="peers-file-entry", severity=Severity.WARNING, text=text, since=NOW)
    status = Status(agent_version="0", started=NOW, self_=own, peers=(peer,), health=(health,))
    out = io.StringIO()
    render(status, NOW, Console(file=out, width=200, force_terminal=True, color_system=None))
    return out.getvalue()


def test_the_table_says_who_is_where() -> None:
    lines = shown("server", "entry 3 is refused", "203.0.113.9:4000").splitlines()

    assert lines[0].strip() == ("alice/laptop in acme: 100.64.7.1 on kbwg0 (kernel, port 20000)")
    row = "bob/server 100.64.7.2 connected - 203.0.113.9:4000 - 0 s ago 5 B / 2.0 KiB"
    assert lines[2].split() == row.split()
    assert lines[3].strip() == "warning peers-file-entry: entry 3 is refused"


@pytest.mark.parametrize("name", ["[/]", "[/nothing]", "[red]", "[link=x]", "a\\[b"])
def test_brackets_in_a_name_are_brackets(name: str) -> None:
    out = shown(name, f"entry 3: {name}", "203.0.113.9:4000")

    assert f"bob/{name}" in out
    assert f"entry 3: {name}" in out


def test_an_ipv6_endpoint_that_begins_with_a_letter_is_no_markup() -> None:
    assert "[fd00::9]:4000" in shown("server", "x", "[fd00::9]:4000")


def test_no_name_controls_the_terminal() -> None:
    out = shown("\x1b]0;owned\x07", "\x1b[2J", "203.0.113.9:4000")

    assert "\x1b]" not in out
    assert "\x1b[2J" not in out
    assert "\x07" not in out
    assert plain("a\tb\nc").plain == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
