"""The NAT grid for people: a line for each cell as it ends, and a table of all."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from .expectation import Ends
from .grid import Outcome
from .kinds import KINDS

RANKS: Final = ("host", "srflx", "prflx", "relay")
"""From the best to the worst (RFC 8445 §5.1.2.1)."""

STYLES: Final = {"host": "green", "srflx": "green", "prflx": "cyan", "relay": "yellow"}

LEGEND: Final = (
    "the path of each pair (the worse of its ends), and the time from when both know of each other"
    " until it stands\n"
    "host: no translation · srflx: at the address that a STUN server saw · prflx: at one that only"
    " the peer saw · relay: through a TURN server · none: no path, and none expected"
)


def line(outcome: Outcome) -> Text:
    """Say how one cell ended."""
    text = Text(f"{outcome.cell!s:<22}")
    if outcome.error is None:
        text.append(f"{_kind(outcome.found):<7}", STYLES.get(_kind(outcome.found), "dim"))
        text.append(_times(outcome), "dim")
        return text
    text.append(f"FAILED: {outcome.error}", "bold red")
    if outcome.artifacts is not None:
        text.append(f"\n{'':<22}packets, rules, logs and status: {outcome.artifacts}", "dim")
    return text


def table(outcomes: Sequence[Outcome]) -> Table:
    """Show all cells that were run as a triangle."""
    order = list(KINDS)
    by_names = {tuple(sorted((o.cell.a.name, o.cell.b.name), key=order.index)): o for o in outcomes}
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    shown.add_column("", style="bold", no_wrap=True)
    for name in KINDS:
        shown.add_column(name, no_wrap=True)
    for row in KINDS:
        cells = [by_names.get((row, column)) for column in KINDS]
        shown.add_row(row, *(_cell(outcome) if outcome else Text("") for outcome in cells))
    return shown


def summary(outcomes: Sequence[Outcome], seconds: float) -> Text:
    """Count, and say how long it took."""
    good = [outcome for outcome in outcomes if outcome.error is None]
    direct = [o for o in good if o.found is not None and _kind(o.found) != "relay"]
    relayed = [o for o in good if o.found is not None and _kind(o.found) == "relay"]
    parts = [
        f"{len(good)} of {len(outcomes)} cells as expected in {seconds:.0f} s",
        f"{len(direct)} direct{_median(direct)}",
        f"{len(relayed)} relayed{_median(relayed)}",
    ]
    return Text("; ".join(parts), "bold green" if len(good) == len(outcomes) else "bold red")


def _cell(outcome: Outcome) -> Text:
    if outcome.error is not None:
        return Text("FAILED", "bold red")
    kind = _kind(outcome.found)
    text = Text(kind, STYLES.get(kind, "dim"))
    if outcome.settled_after is not None:
        text.append(f"\n{outcome.settled_after:.2f} s", "dim")
    return text


def _kind(ends: Ends | None) -> str:
    return "none" if ends is None else max((ends.a, ends.b), key=RANKS.index)


def _times(outcome: Outcome) -> str:
    if outcome.settled_after is None or outcome.connected_after is None:
        return ""
    first = f", data after {outcome.connected_after:.2f} s"
    return f"{outcome.settled_after:.2f} s" + (
        first if outcome.connected_after < outcome.settled_after else ""
    )


def _median(outcomes: Sequence[Outcome]) -> str:
    times = [o.settled_after for o in outcomes if o.settled_after is not None]
    return f" (median {median(times):.2f} s, at most {max(times):.2f} s)" if times else ""
