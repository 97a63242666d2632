"""Text of others on a terminal: as it is, and without effect.

Names come from `peers.json`, reasons from gateways and servers. Nothing in them is markup of ours
(a bracketed IPv6 address looks like it), and no control character reaches the terminal.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text


def printable(text: str) -> str:
    """Return `text` without what would do something to a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def plain(text: str, style: str = "") -> "Text":
    """Return `text` in one style, whatever it contains, for a table."""
    # Not loaded by the agent, which draws no tables.
    from rich.text import Text

    return Text(printable(text), style)
