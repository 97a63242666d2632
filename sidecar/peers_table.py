"""`kbwg peers list` for people."""

from rich.console import Console
from rich.table import Table

from .peers_file import PeersFile
from .terminal import plain


def render(listed: PeersFile) -> None:
    """Print who is listed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("device", "address", "role"):
        table.add_column(column, no_wrap=True)
    for entry in listed.entries.values():
        table.add_row(plain(f"{entry.username}/{entry.device}"), str(entry.ip), entry.role.value)
    Console(highlight=False).print(table)
