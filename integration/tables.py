"""What a lab's agents report, as tables for people."""

from collections.abc import Mapping
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from sidecar.status import PathStatus, PeerState, PeerStatus, Status

LEGEND: Final = (
    "[dim]host: on one network or without NAT · srflx: at the address that a STUN server saw ·"
    " prflx: at one that only the peer saw[/]"
)
"""The kinds of a direct path (RFC 8445 §5.1.1), the worse end of both."""


def mesh(statuses: Mapping[str, Status | str]) -> Table:
    """Show every agent's peers; for an agent that does not answer, why."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("who", "VPN address", "path", "remote endpoint"):
        table.add_column(title, no_wrap=True)
    table.add_column("RTT", justify="right", no_wrap=True)
    for node, status in statuses.items():
        if isinstance(status, str):
            table.add_row(Text(node, style="bold"), "", Text(status, style="red"), end_section=True)
            continue
        own = status.self_
        table.add_row(Text(f"{own.username}/{own.device}", style="bold"), str(own.ip or "none yet"))
        if not status.peers:
            table.add_row(Text("  no peers yet", style="dim"))
        for peer in status.peers:
            table.add_row(*_peer_cells(peer))
        table.add_section()
    return table


def ping_matrix(names: list[str], rtts: Mapping[tuple[str, str], float | None]) -> Table:
    """Show the round-trip time in milliseconds from every row to every column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("ping from", style="bold")
    for name in names:
        table.add_column(f"to {name}", justify="right")
    for row in names:
        cells = []
        for column in names:
            rtt = rtts.get((row, column))
            if row == column:
                cells.append(Text("-", style="dim"))
            elif rtt is None:
                cells.append(Text("no answer", style="bold red"))
            else:
                cells.append(Text(f"{rtt:.2f} ms", style="green"))
        table.add_row(row, *cells)
    return table


def _peer_cells(peer: PeerStatus) -> tuple[str, str, Text, str, str]:
    rtt = peer.path.rtt_ms if peer.path else None
    return (
        f"  → {peer.username}/{peer.device}",
        str(peer.ip or ""),
        _path_cell(peer.state, peer.path),
        peer.endpoint or "",
        "" if rtt is None else f"{rtt:.1f} ms",
    )


def _path_cell(state: PeerState, path: PathStatus | None) -> Text:
    if path is None or state is not PeerState.CONNECTED:
        return Text(state.value, style="yellow")
    if path.relayed:
        return Text("relayed", style="yellow")
    return Text(path.kind, style="green")
