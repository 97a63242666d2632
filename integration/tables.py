"""What a lab's agents report, as tables for people."""

from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from sidecar.status import PathStatus, PeerState, PeerStatus, Status

PATH_NAMES = {"host": "host", "srflx": "server-reflexive", "prflx": "peer-reflexive"}
"""RFC 8445's words for the kinds of a direct path."""


def mesh(statuses: Mapping[str, Status | str]) -> Table:
    """Show every agent's peers; for an agent that does not answer, why."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("node", style="bold", no_wrap=True)
    table.add_column("VPN address", no_wrap=True)
    table.add_column("peer", no_wrap=True)
    table.add_column("VPN address", no_wrap=True)
    table.add_column("path", no_wrap=True)
    table.add_column("remote endpoint", no_wrap=True)
    table.add_column("RTT", justify="right", no_wrap=True)
    for node, status in statuses.items():
        if isinstance(status, str):
            table.add_row(node, Text(status, style="red"))
            continue
        own = str(status.self_.ip or "none yet")
        if not status.peers:
            table.add_row(node, own, Text("no peers yet", style="dim"))
        for index, peer in enumerate(status.peers):
            first = (node, own) if index == 0 else ("", "")
            table.add_row(*first, *_peer_cells(peer), end_section=peer is status.peers[-1])
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
        f"{peer.username}/{peer.device}",
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
    return Text(PATH_NAMES.get(path.kind, path.kind), style="green")
