"""Splices in the kernel: won ports made one with WireGuard's, by stateless rewriting of ports.

    output      base:WireGuard → remote   becomes   base:port → remote
    prerouting  remote → base:port        becomes   remote → base:WireGuard

Both the data of WireGuard and our raw STUN pass these hooks; no packet passes user space. The
hooks' priorities matter. Outgoing packets are rewritten before conntrack (-200) sees them and
incoming ones after it, so that a stateful firewall or a masquerade on this host knows one flow
only: that of the won port, which our openers began.

What arrives loses its UDP checksum, which IPv4 allows (RFC 768) and WireGuard, like STUN, does not
need: nftables from 1.1 on has the kernel account for a new port as for a new address, and so breaks
the sum of a packet that conntrack or the network card has added up already (CHECKSUM_COMPLETE).

One table per interface, there only while it has splices. It is also the memory of them: it
outlives the agent, and the next one reads it.
"""

from collections.abc import Iterable
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
        self._owed = False
        """Whether the kernel has not taken yet what stands in `_splices`."""

    def check(self) -> None:
        """Find out whether the rules can be made here, in a table that goes at once."""
        trial = f"{self._table}-trial"
        nft.run(f"{self._ruleset(trial, set())}\ndelete table {trial}")

    def load(self) -> tuple[Splice, ...]:
        """Take over what a former run has left; its rules follow WireGuard's present port."""
        self._make(set(_parse(self._present(), self._listen_port)))
        return tuple(self._splices)

    def add(self, splice: Splice) -> None:
        """Put a splice in force, in the place of another with the same ends."""
        ends = (splice.base, splice.remote)
        self._make({s for s in self._splices if (s.base, s.remote) != ends} | {splice})

    def remove(self, splice: Splice) -> None:
        """Undo a splice, with `mend` if not at once; harmless if it is not in force."""
        if splice in self._splices:
            self._splices, self._owed = self._splices - {splice}, True
            self._make(self._splices)

    def clear(self) -> None:
        """Undo everything; harmless if there is nothing."""
        self._make(set())

    def mend(self) -> bool:
        """Make the rules again if somebody has flushed them; whether that was so."""
        if self._owed:
            self._make(self._splices)
        if not self._splices or len(self._present()) == len(self._splices):
            return False
        self._make(self._splices)
        return True

    def _make(self, splices: set[Splice]) -> None:
        """Replace all at once, in one transaction: no datagram sees less than the whole."""
        # "delete" alone fails if there is no table, and nft 1.0 has no "destroy" yet.
        commands = f"add table {self._table}\ndelete table {self._table}"
        if splices:
            commands += self._ruleset(self._table, splices)
        nft.run(commands)
        self._splices, self._owed = splices, False

    def _ruleset(self, table: str, splices: set[Splice]) -> str:
        return f"""
            table {table} {{
              map sources {{
                type ipv4_addr . ipv4_addr . inet_service : inet_service
                {_elements(_source(splice) for splice in splices)}
              }}
              set arrivals {{
                type ipv4_addr . inet_service . ipv4_addr . inet_service
                {_elements(_arrival(splice) for splice in splices)}
              }}
              chain output {{
                type filter hook output priority {BEFORE_CONNTRACK}; policy accept;
                udp sport {self._listen_port} \\
                  udp sport set ip saddr . ip daddr . udp dport map @sources
              }}
              chain prerouting {{
                type filter hook prerouting priority {AFTER_CONNTRACK}; policy accept;
                ip saddr . udp sport . ip daddr . udp dport @arrivals \\
                  udp dport set {self._listen_port} udp checksum set 0
              }}
            }}
            """

    def _present(self) -> list[object]:
        """Return the elements that are in force."""
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


def _elements(elements: Iterable[str]) -> str:
    joined = ", ".join(elements)
    return f"elements = {{ {joined} }}" if joined else ""


def _source(splice: Splice) -> str:
    """Return what the source port of an outgoing datagram becomes."""
    remote = splice.remote
    return f"{splice.base.ip} . {remote.ip} . {remote.port} : {splice.port}"


def _arrival(splice: Splice) -> str:
    """Return which incoming datagrams are WireGuard's."""
    remote = splice.remote
    return f"{remote.ip} . {remote.port} . {splice.base.ip} . {splice.port}"


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
