"""What the NAT grid shows."""

from pathlib import Path

from rich.console import Console

from integration.expectation import Ends
from integration.grid import Outcome
from integration.grid_report import line, summary, table
from integration.kinds import parse_cell

DIRECT = Outcome(
    cell=parse_cell("MQ:FC"),
    expected=frozenset({Ends("srflx", "srflx")}),
    found=Ends("srflx", "srflx"),
    connected_after=0.25,
    settled_after=0.75,
)
RELAYED = Outcome(
    cell=parse_cell("MQ:SY"),
    expected=frozenset({Ends("relay", "prflx")}),
    found=Ends("relay", "prflx"),
    connected_after=0.5,
    settled_after=0.5,
)
FAILED = Outcome(
    cell=parse_cell("PUB:PUB"),
    expected=frozenset({Ends("host", "host")}),
    error="after 30 s the path is none, not host-host",
    artifacts=Path("artifacts/grid/PUB-PUB"),
)


def printed(*things: object) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(*things)
    return capture.get()


def test_a_cell_shows_the_worse_of_its_ends_and_when_it_stood() -> None:
    assert printed(line(DIRECT)).split() == [
        "MQ:FC",
        "srflx",
        "0.75",
        "s,",
        "data",
        "after",
        "0.25",
        "s",
    ]
    assert printed(line(RELAYED)).split() == ["MQ:SY", "relay", "0.50", "s"]


def test_a_failed_cell_says_why_and_where_to_look() -> None:
    shown = printed(line(FAILED))
    assert "FAILED: after 30 s the path is none, not host-host" in shown
    assert "artifacts/grid/PUB-PUB" in shown


def test_the_table_has_a_row_and_a_column_for_every_kind() -> None:
    shown = printed(table([DIRECT, FAILED])).splitlines()
    header = next(text for text in shown if "PUB" in text)
    assert header.split()[-1] == "UB"
    rows = {text.split()[0]: text for text in shown if text.split()}
    assert rows["PUB"].split() == ["PUB", "FAILED"]
    assert rows["FC"].split() == ["FC", "srflx"], "a pair stands above the diagonal"
    assert rows["FC"].index("srflx") == header.index("MQ")


def test_the_summary_counts_direct_relayed_and_failed() -> None:
    text = str(summary([DIRECT, RELAYED, FAILED], 61.4))
    assert text.startswith("2 of 3 cells as expected in 61 s; 1 direct (median 0.75 s")
    assert "1 relayed (median 0.50 s" in text
