"""`kbwg netcheck` as a person reads it."""

from rich.console import Console
from rich.table import Table

from ..status import (
    NatStatus,
    PortMappingState,
    PortMappingStatus,
    RelayStatus,
    StunServerStatus,
)
from .document import Netcheck

PIPE_WIDTH = 120
"""Columns where there is no terminal."""


def render(netcheck: Netcheck, console: Console | None = None) -> None:
    """Print it to standard output, or to `console`."""
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_WIDTH)
    colour = "red" if netcheck.udp_blocked else "green"
    for verdict in netcheck.verdicts or ("Nothing could be tested.",):
        console.print(f"[bold {colour}]{verdict}[/]", soft_wrap=True)
    console.print()
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, lines in _facts(netcheck):
        for number, line in enumerate(lines):
            facts.add_row("" if number else name, line)
    console.print(facts)


def _facts(netcheck: Netcheck) -> list[tuple[str, list[str]]]:
    whose = "WireGuard's port" if netcheck.agent else "a fresh port, for no agent runs"
    rows = [
        ("tested", [f"{whose} ({netcheck.port})"]),
        ("addresses", list(netcheck.addresses) or ["none that a peer could send to"]),
        ("STUN", [_server(one) for one in netcheck.stun] or ["no server named, or none resolved"]),
        ("TURN", [_relay(one) for one in netcheck.turn] or ["no server named"]),
    ]
    for nat in netcheck.nat:
        rows += [(f"NAT of {nat.address}", _nat(nat))]
    rows.append(("port mapping", _mappings(netcheck)))
    if netcheck.advice:
        rows.append(("try", [f"- {text}" for text in netcheck.advice]))
    return rows


def _server(one: StunServerStatus) -> str:
    if one.mapped is None:
        return f"{one.server}  [red]no answer[/]"
    rtt = "" if one.rtt_ms is None else f"  {one.rtt_ms:.1f} ms"
    more = ", RFC 5780" if one.rfc5780 else ""
    return f"{one.server}  sees {one.mapped}{rtt}{more}"


def _relay(one: RelayStatus) -> str:
    if one.trouble is not None:
        return f"{one.server}  [red]{one.trouble}[/]"
    rtt = "" if one.rtt_ms is None else f"  {one.rtt_ms:.1f} ms"
    if one.relayed:
        return f"{one.server}  relays from {', '.join(one.relayed)}{rtt}"
    return f"{one.server}  {'being asked' if one.rtt_ms is None else 'stands by'}{rtt}"


def _nat(nat: NatStatus) -> list[str]:
    lines = [f"mapping            {nat.mapping}", f"filtering          {nat.filtering}"]
    if nat.mapping not in ("none", "unknown"):
        lines += [
            f"hairpinning        {_word(nat.hairpinning)}",
            f"port preservation  {_word(nat.port_preservation)}",
        ]
    return lines


def _mappings(netcheck: Netcheck) -> list[str]:
    if netcheck.port_mapping_off:
        return ["off (KBWG_PORT_MAPPING)"]
    return [_mapping(one) for one in netcheck.port_mapping] or ["no gateway to ask"]


def _mapping(one: PortMappingStatus) -> str:
    place = f"{one.gateway} ({one.interface})"
    if one.external is not None and one.protocol is not None:
        what = "pinhole for" if one.external == one.internal else "maps"
        left = (
            "" if one.expires_in_seconds is None else f", {one.expires_in_seconds // 60} min left"
        )
        return f"{place}  [green]{what} {one.external}[/] by {one.protocol}{left}"
    if one.refusal is not None:
        return f"{place}  [yellow]refuses[/]: {one.refusal}"
    if one.state is PortMappingState.SEARCHING:
        return f"{place}  being asked"
    return f"{place}  speaks neither PCP nor NAT-PMP nor UPnP"


def _word(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"
