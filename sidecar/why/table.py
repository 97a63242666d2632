"""`kbwg why PEER` as a person reads it."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..terminal import plain
from .document import Why, WhyPair, WhySide

PIPE_WIDTH = 120
"""Columns where there is no terminal."""


def render(why: Why, console: Console | None = None) -> None:
    """Print it to standard output, or to `console`."""
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_WIDTH)
    console.print(_head(why))
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in _facts(why):
        facts.add_row(name, plain(text))
    console.print(facts)
    if why.pairs:
        console.print()
        console.print(_pairs(why))


def _head(why: Why) -> Text:
    addresses = " ".join(str(ip) for ip in (why.ip, why.ip6) if ip is not None)
    colour = {"connected": "green", "silent": "yellow", "opening": "yellow"}.get(
        why.state.value, "red"
    )
    name = plain(f"{why.username}/{why.device}", "bold")
    return name + plain(f" {addresses} ") + plain(why.state.value, colour)


def _facts(why: Why) -> list[tuple[str, str]]:
    rows = []
    if why.path is not None:
        how = "relayed" if why.path.relayed else "direct"
        rtt = "" if why.path.rtt_ms is None else f", {why.path.rtt_ms:.1f} ms"
        width = "" if why.mtu is None else f", packets to {why.mtu} bytes"
        rows.append(("path", f"{how}, {why.path.kind}{rtt}{width}"))
    if why.preferred is not None:
        rows.append(("chosen", why.preferred))
    rows += [("here", _side(why.here)), ("there", _side(why.there))]
    if why.code != "direct":
        rows.append(("why", why.reason))
    rows += [("" if number else "try", f"- {text}") for number, text in enumerate(why.advice)]
    return rows


def _side(side: WhySide) -> str:
    families = " and ".join(f"IPv{version}" for version in side.ip_versions) or "no address"
    if side.udp_blocked:
        nat = "no UDP gets out"
    elif side.source == "nothing known yet":
        nat = "NAT unknown"
    elif side.mapping == "no translation":
        nat = f"no NAT, filtering {side.filtering}"
    else:
        nat = f"NAT: mapping {side.mapping}, filtering {side.filtering}"
    source = "" if side.source == "nothing known yet" else f" ({side.source})"
    mapped = ", port mapped" if side.port_mapped else ""
    return f"{families}, {nat}{mapped}{source}"


def _pairs(why: Why) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column(f"here (port {why.listen_port})", overflow="fold")
    table.add_column("there", overflow="fold")
    table.add_column("last result")
    table.add_column("rtt", justify="right", no_wrap=True)
    table.add_column("sent", justify="right", no_wrap=True)
    for pair in why.pairs:
        style = "bold" if pair.selected else ("" if pair.state == "valid" else "dim")
        table.add_row(
            "*" if pair.selected else " ",
            plain(f"{pair.local_kind} {_host(pair.local)}"),
            plain(f"{pair.remote_kind} {pair.remote}"),
            plain(_result(pair)),
            "-" if pair.rtt_ms is None else f"{pair.rtt_ms:.1f} ms",
            str(pair.checks_sent),
            style=style,
        )
    return table


def _result(pair: WhyPair) -> str:
    outcome = pair.outcome if pair.error is None else f"{pair.outcome}: {pair.error}"
    age = "" if pair.outcome_seconds is None else f" {_age(pair.outcome_seconds)} ago"
    return outcome + age


def _age(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0].strip("[]")
