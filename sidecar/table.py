"""The status document as a person reads it."""

from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .status import PeerStatus, Severity, Status
from .terminal import plain

PIPE_WIDTH = 200
"""Columns where there is no terminal: nothing is cut."""

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def render(status: Status, now: datetime, console: Console | None = None) -> None:
    """Print the status to standard output, or to `console`."""
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_WIDTH)
    own = status.self_
    where = f" in {own.team}: {own.ip or 'no address yet'} on {own.interface} "
    how = f"({own.backend}, port {own.listen_port})"
    console.print(plain(f"{own.username}/{own.device}", "bold") + plain(where + how))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("peer", "address", "state", "path", "endpoint", "rtt", "handshake", "rx / tx"):
        table.add_column(column, no_wrap=True)
    for peer in status.peers:
        table.add_row(*map(plain, _row(peer, now)))
    console.print(table if status.peers else "no other device yet")
    for entry in status.health:
        severity = Text(entry.severity.value, _COLOURS[entry.severity])
        console.print(severity + plain(f" {entry.code}: {entry.text}"))


def _row(peer: PeerStatus, now: datetime) -> tuple[str, ...]:
    path = peer.path
    handshake = peer.last_handshake
    return (
        f"{peer.username}/{peer.device}",
        str(peer.ip or "-"),
        peer.state.value,
        "-" if path is None else path.kind,
        peer.endpoint or "-",
        "-" if path is None or path.rtt_ms is None else f"{path.rtt_ms:.1f} ms",
        "-" if handshake is None else f"{max(0, (now - handshake).total_seconds()):.0f} s ago",
        f"{_bytes(peer.rx_bytes)} / {_bytes(peer.tx_bytes)}",
    )


def _bytes(number: int) -> str:
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable: the last unit takes any number")
