"""Packet filter rules that a test adds to a node and takes away again."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .lab import Lab

WIREGUARD: Final = "meta l4proto udp @th,64,32 { 0x01000000, 0x02000000, 0x03000000, 0x04000000 }"
"""WireGuard's datagrams on any port: a type from 1 to 4 and three zero bytes. STUN's message types
0x0100 to 0x0400 would begin so too, but they are of methods that do not exist."""

STUN: Final = "meta l4proto udp @th,96,32 0x2112a442"
"""STUN's datagrams on any port, by the magic cookie (RFC 8489 §5)."""


class Rules:
    """A table of a node's packet filter, there until removed."""

    def __init__(self, lab: "Lab", node: str, table: str, chains: str) -> None:
        self._lab = lab
        self._node = node
        self._table = table
        lab.exec(node, ["nft", "-f", "-"], stdin=f"table inet {table} {{\n{chains}\n}}\n")

    @property
    def packets(self) -> int:
        """How many packets its counters have seen."""
        listing = self._lab.exec(self._node, ["nft", "list", "table", "inet", self._table]).stdout
        words = listing.split()
        return sum(int(words[i + 1]) for i, word in enumerate(words) if word == "packets")

    def remove(self) -> None:
        """Take the table away."""
        self._lab.exec(self._node, ["nft", "delete", "table", "inet", self._table])


class Drop(Rules):
    """Silence: datagrams that vanish before connection tracking sees them."""

    def __init__(self, lab: "Lab", node: str, table: str, match: str) -> None:
        super().__init__(
            lab,
            node,
            table,
            "\n".join(
                f"chain {hook} {{ type filter hook {hook} priority -350; policy accept\n"
                f"  {match} counter drop\n}}"
                for hook in ("prerouting", "output")
            ),
        )
