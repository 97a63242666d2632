"""Splices in the kernel: won ports made one with WireGuard's, by stateless rewriting of ports.

    output      base:WireGuard → remote   becomes   base:port → remote
    prerouting  remote → base:port        becomes   remote → base:WireGuard

Both the data of WireGuard and our raw STUN pass these hooks; no packet passes user space. The
hooks' priorities matter. Outgoing packets are rewritten before conntrack (-200) sees them and
incoming ones after it, so that a stateful firewall or a masquerade on this host knows one flow
only: that of the won port, which our openers began.

One table per interface, there only while it has splices. It is also the memory of them: it
outlives the agent, and the next one reads it.
"""

from ipaddress import IPv4Address
from typing import Final

from nat.machine import Endpoint
from nat.prediction.splice import Splice

from . import nft
from .errors import NftError

BEFORE_CONNTRACK: Final = -350
"""Priority before NF_IP_PRI_RAW (-300) and NF_IP_PRI_CONNTRACK (-200)."""

AFTER_CONNTRACK: Final = -150
"""NF_IP_PRI_MANGLE: after conntrack, before any NAT (-100)."""


class SpliceTable:
    """The splices of one interface. Every method raises `NftError` if the kernel refuses.

    Args:
        interface: name of the WireGuard interface.
        listen_port: UDP port of WireGuard.
    """

    def __init__(self, interface: str, listen_port: int) -> None:
        self._table = table_name(interface)
        self._listen_port = listen_port
        self._splices: set[Splice] = set()

    def check(self) -> None:
        """Find out whether the rules can be made here, and leave none behind."""
        nft.run(f"{self._rules()}\ndelete table {self._table}")

    def load(self) -> tuple[Splice, ...]:
        """Take over what a former run has left; its rules follow WireGuard's present port."""
        self._splices = set(_parse(self._elements(), self._listen_port))
        if self._splices:
            nft.run(self._rules())
        return tuple(self._splices)

    def add(self, splice: Splice) -> None:
        """Put a splice in force, in the place of another with the same ends."""
        former = [s for s in self._splices if (s.base, s.remote) == (splice.base, splice.remote)]
        commands = [self._rules()]
        commands += [self._element("delete", known) for known in former]
        commands.append(self._element("add", splice))
        nft.run("\n".join(commands))
        self._splices.difference_update(former)
        self._splices.add(splice)

    def remove(self, splice: Splice) -> None:
        """Undo a splice; harmless if it is not in force."""
        if splice not in self._splices:
            return
        self._splices.remove(splice)
        if self._splices:
            nft.run(self._element("delete", splice))
        else:
            self.clear()

    def clear(self) -> None:
        """Undo everything; harmless if there is nothing."""
        self._splices.clear()
        # "delete" alone fails if there is no table, and nft 1.0 has no "destroy" yet.
        nft.run(f"add table {self._table}\ndelete table {self._table}")

    def _rules(self) -> str:
        """Return commands that make the rules, whether they are there or not; elements stay."""
        return f"""
            table {self._table} {{
              map sources {{ type ipv4_addr . ipv4_addr . inet_service : inet_service; }}
              set arrivals {{ type ipv4_addr . inet_service . ipv4_addr . inet_service; }}
              chain output {{
                type filter hook output priority {BEFORE_CONNTRACK}; policy accept;
              }}
              chain prerouting {{
                type filter hook prerouting priority {AFTER_CONNTRACK}; policy accept;
              }}
            }}
            flush chain {self._table} output
            flush chain {self._table} prerouting
            add rule {self._table} output udp sport {self._listen_port} \\
              udp sport set ip saddr . ip daddr . udp dport map @sources
            add rule {self._table} prerouting \\
              ip saddr . udp sport . ip daddr . udp dport @arrivals \\
              udp dport set {self._listen_port}
            """

    def _element(self, verb: str, splice: Splice) -> str:
        base, remote, port = splice.base.ip, splice.remote, splice.port
        source = f"{base} . {remote.ip} . {remote.port}"
        value = f" : {port}" if verb == "add" else ""
        return (
            f"{verb} element {self._table} sources {{ {source}{value} }}\n"
            f"{verb} element {self._table} arrivals "
            f"{{ {remote.ip} . {remote.port} . {base} . {port} }}"
        )

    def _elements(self) -> list[object]:
        try:
            shown = nft.query(f"list map {self._table} sources")
        except NftError:
            return []  # no table
        return [e for item in shown for e in item.get("map", {}).get("elem", ())]


def table_name(interface: str) -> str:
    """Return family and name of an interface's table."""
    return f"ip kbwg-splices-{interface}"


def remove_splices(interface: str) -> None:
    """Undo what an agent of `interface` has left; harmless if there is nothing, or no nftables."""
    try:
        nft.query(f"list table {table_name(interface)}")
        nft.run(f"delete table {table_name(interface)}")
    except NftError:
        pass


def _parse(elements: list[object], listen_port: int) -> list[Splice]:
    splices = []
    for element in elements:
        match element:
            case [{"concat": [str(base), str(ip), int(remote_port)]}, int(port)]:
                remote = Endpoint(IPv4Address(ip), remote_port)
                splices.append(Splice(Endpoint(IPv4Address(base), listen_port), port, remote))
            case _:
                pass  # not of our making
    return splices
