"""`kbwg netcheck` as a person reads it."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..status import (
    NatStatus,
    PortMappingState,
    PortMappingStatus,
    RelayStatus,
    StunServerStatus,
)
from ..terminal import plain
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
        console.print(plain(verdict, f"bold {colour}"), soft_wrap=True)
    console.print()
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, lines in _facts(netcheck):
        for number, line in enumerate(lines):
            facts.add_row("" if number else plain(name), line)
    console.print(facts)


def _facts(netcheck: Netcheck) -> list[tuple[str, list[Text]]]:
    whose = "WireGuard's port" if netcheck.agent else "a fresh port, for no agent runs"
    addresses = netcheck.addresses or ("none that a peer could send to",)
    nobody, unnamed = plain("no server named, or none resolved"), plain("no server named")
    rows = [
        ("tested", [plain(f"{whose} ({netcheck.port})")]),
        ("addresses", [plain(address) for address in addresses]),
        ("STUN", [_server(one) for one in netcheck.stun] or [nobody]),
        ("TURN", [_relay(one) for one in netcheck.turn] or [unnamed]),
    ]
    for nat in netcheck.nat:
        rows += [(f"NAT of {nat.address}", [plain(line) for line in _nat(nat)])]
    rows.append(("port mapping", _mappings(netcheck)))
    if netcheck.advice:
        rows.append(("try", [plain(f"- {text}") for text in netcheck.advice]))
    return rows


def _server(one: StunServerStatus) -> Text:
    if one.mapped is None:
        return plain(f"{one.server}  ") + plain("no answer", "red")
    rtt = "" if one.rtt_ms is None else f"  {one.rtt_ms:.1f} ms"
    more = ", RFC 5780" if one.rfc5780 else ""
    return plain(f"{one.server}  sees {one.mapped}{rtt}{more}")


def _relay(one: RelayStatus) -> Text:
    if one.trouble is not None:
        return plain(f"{one.server}  ") + plain(one.trouble, "red")
    rtt = "" if one.rtt_ms is None else f"  {one.rtt_ms:.1f} ms"
    if one.relayed:
        return plain(f"{one.server}  relays from {', '.join(one.relayed)}{rtt}")
    return plain(f"{one.server}  {'being asked' if one.rtt_ms is None else 'stands by'}{rtt}")


def _nat(nat: NatStatus) -> list[str]:
    lines = [f"mapping            {nat.mapping}", f"filtering          {nat.filtering}"]
    if nat.mapping not in ("none", "unknown"):
        lines += [
            f"hairpinning        {_word(nat.hairpinning)}",
            f"port preservation  {_word(nat.port_preservation)}",
        ]
    return lines


def _mappings(netcheck: Netcheck) -> list[Text]:
    if netcheck.port_mapping_off:
        return [plain("off (KBWG_PORT_MAPPING)")]
    return [_mapping(one) for one in netcheck.port_mapping] or [plain("no gateway to ask")]


def _mapping(one: PortMappingStatus) -> Text:
    place = f"{one.gateway} ({one.interface})"
    if one.external is not None and one.protocol is not None:
        what = "pinhole for" if one.external == one.internal else "maps"
        left = (
            "" if one.expires_in_seconds is None else f", {one.expires_in_seconds // 60} min left"
        )
        mapped = plain(f"{what} {one.external}", "green")
        return plain(f"{place}  ") + mapped + plain(f" by {one.protocol}{left}")
    if one.refusal is not None:
        return plain(f"{place}  ") + plain("refuses", "yellow") + plain(f": {one.refusal}")
    if one.state is PortMappingState.SEARCHING:
        return plain(f"{place}  being asked")
    return plain(f"{place}  speaks neither PCP nor NAT-PMP nor UPnP")


def _word(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"
