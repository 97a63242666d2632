"""The rules of the tunnel interface, as text for `nft -f` (nft(8)). Pure.

WireGuard's allowed IPs already tie each peer to its own source addresses. What they do not say is
where its packets may go: on a host that forwards, as every Docker host does, a peer would reach
the LAN behind it and every other local address. Hence:

* in from the tunnel, to our own overlay address only, and from overlay addresses only;
* nothing is forwarded into or out of the tunnel, but for connections to our overlay address that
  the operator has redirected himself, such as a container's published port;
* nothing from elsewhere may claim an overlay address as its source.

Where the operator filters himself (`KBWG_FIREWALL=off`) only the first line of the second rule is
left: how wide the tunnel is, nobody but us knows.

The table is one per interface, replaced as a whole in one transaction, and belongs to nobody's
process: it stays when the agent dies.
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

TABLE_PREFIX: Final = "kbwg_"
"""How the name of every table of ours begins."""


CLAMP: Final = "tcp flags syn / syn,rst tcp option maxseg size set rt mtu"
"""Whoever talks TCP through the tunnel from elsewhere learns how wide it is: the narrower of the
routes of both directions, so also that of a peer with a narrow path (`sidecar/tunnel_mtu.py`)."""


@dataclass(frozen=True, slots=True)
class TunnelFilter:
    """What the filter of one interface depends on.

    Attributes:
        addresses: our overlay addresses, each with the overlay network that it belongs to;
            none: nothing gets in yet.
        filtering: whether anything is held back at all.
    """

    interface: str
    addresses: frozenset[IPv4Interface | IPv6Interface]
    filtering: bool = True

    @property
    def table(self) -> str:
        """Name of the table: an interface may have a `-` in its name, a table may not."""
        return TABLE_PREFIX + self.interface.replace("-", "/")

    def ruleset(self) -> str:
        """Return the transaction that puts the table in place, whatever was there."""
        return (
            # Adding it first makes the deletion succeed whether or not there was one.
            f"table inet {self.table}\n"
            f"delete table inet {self.table}\n"
            f"table inet {self.table} {{\n"
            + (self._filter() if self.filtering else self._clamp())
            + "}\n"
        )

    def removal(self) -> str:
        """Return the transaction that leaves nothing of it, whether or not it is there."""
        return f"table inet {self.table}\ndelete table inet {self.table}\n"

    def _clamp(self) -> str:
        ways = [f'{way} "{self.interface}" {CLAMP}' for way in ("iifname", "oifname")]
        return _chain("forward", "forward", "filter", ways)

    def _filter(self) -> str:
        return (
            _chain("prerouting", "prerouting", "raw", self._strangers())
            + _chain("input", "input", "filter", [f'iifname "{self.interface}" jump arriving'])
            + _chain(
                "forward",
                "forward",
                "filter",
                [f'{way} "{self.interface}" jump passing' for way in ("iifname", "oifname")],
            )
            + _chain("arriving", None, None, [*self._welcome(), "counter drop"])
            + _chain("passing", None, None, [CLAMP, *self._redirected(), "counter drop"])
        )

    def _ordered(self) -> list[IPv4Interface | IPv6Interface]:
        return sorted(self.addresses, key=lambda address: (address.version, int(address.ip)))

    def _welcome(self) -> list[str]:
        return [
            f"{_family(own)} saddr {own.network} {_family(own)} daddr {own.ip} accept"
            for own in self._ordered()
        ]

    def _redirected(self) -> list[str]:
        # Both directions of such a connection have the same original destination.
        return [
            f"ct status dnat ct original {_family(own)} daddr {own.ip} accept"
            for own in self._ordered()
        ]

    def _strangers(self) -> list[str]:
        return [
            f'iifname != "{self.interface}" {_family(own)} saddr {own.network} '
            "fib saddr type != local counter drop"
            for own in self._ordered()
        ]


def _chain(name: str, hook: str | None, priority: str | None, rules: list[str]) -> str:
    lines = list(rules)
    if hook is not None:
        lines.insert(0, f"type filter hook {hook} priority {priority}; policy accept;")
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _family(address: IPv4Interface | IPv6Interface) -> str:
    return "ip" if address.version == 4 else "ip6"
