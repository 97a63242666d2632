"""Text of others on a terminal: as it is, and without effect.

Names come from `peers.json`, reasons from gateways and servers. Nothing in them is markup of ours
(a bracketed IPv6 address looks like it), and no control character reaches the terminal.
"""

from rich.text import Text


def plain(text: str, style: str = "") -> Text:
    """Return `text` in one style, whatever it contains."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), style)
