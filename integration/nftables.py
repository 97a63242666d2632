"""From a NAT's behaviour to the nftables rules of a Linux router that has it. Pure.

How each behaviour comes about:

- *Endpoint-independent mapping* is what `masquerade` does by itself: it keeps the source port,
  and where that is taken it goes on using the port it gave to this inside endpoint before.
- *Address-and-port-dependent mapping* is `masquerade fully-random`.
- *Filtering* is conntrack's own address-and-port-dependent one. For a laxer one the router
  learns which inside endpoint stands behind each of its ports (`inside`) and translates what
  arrives there; the forward chain then admits everything, or only addresses that this
  endpoint has sent to (`contacted`).
- *Hairpinning* uses the same map for datagrams from the inside to the router's own address.

Unsolicited datagrams to the router itself must be dropped, or conntrack holds them for flows
of the router and the inside host's own datagrams to that peer get another port: that is
`Input.ACCEPT`, a behaviour of its own.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from .behaviour import Filtering, Hairpinning, Input, Mapping, Nat, Udp

TABLE: Final = "kbwg_router"
"""Name of both tables, `ip` and `inet`: everything else in the namespace is left alone."""

LEARNED_SECONDS: Final = 120
"""How long the router remembers an inside endpoint that sends nothing: as conntrack does with a
UDP flow that has seen answers, and no less than RFC 4787 REQ-5 demands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the router stands."""

    lan: str
    """Name of the inner interface."""

    wan: str
    """Name of the outer interface."""

    lan_subnet: IPv4Network | None = None
    wan_address: IPv4Address | None = None
    """Only for translation, which is IPv4's."""

    inside: IPv4Address | None = None
    """The inside host that owns the public address, or the port that is published."""

    published: int | None = None
    """UDP port of the public address that leads to the same port of the inside host, as a static
    forward does and `docker run --publish`."""


def ruleset(nat: Nat, at: Position) -> str:
    """Write the rules of a router for `nft -f -`; loading them again replaces them.

    Raises:
        ValueError: one-to-one mapping or a published port without an inside host, a published
            port without translation, or translation without IPv4.
    """
    if at.published is not None and (at.inside is None or not nat.translates):
        raise ValueError("a published port needs translation and NAT_INSIDE, the host that has it")
    if nat.translates and (at.lan_subnet is None or at.wan_address is None):
        raise ValueError("only IPv4 is translated: name the IPv4 subnets, or NAT_MAPPING=none")
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}"]
    lines += [f"add table ip {TABLE}", f"delete table ip {TABLE}"]
    if nat.translates:
        lines += _table("ip", _translation(nat, at))
    lines += _table("inet", _firewall(nat, at))
    return "\n".join(lines) + "\n"


def _translation(nat: Nat, at: Position) -> list[str]:
    if nat.mapping is Mapping.ONE_TO_ONE:
        if at.inside is None:
            raise ValueError("one-to-one mapping needs NAT_INSIDE, the host that has the address")
        target, udp = f"dnat ip to {at.inside}", ""
        outbound = [f'oifname "{at.wan}" ip saddr {at.inside} snat ip to {at.wan_address}']
    else:
        target, udp = "dnat ip to udp dport map @inside", "meta l4proto udp "
        outbound = [f'oifname "{at.wan}" masquerade']
        if nat.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT:
            outbound.insert(0, f'oifname "{at.wan}" meta l4proto udp masquerade fully-random')

    inbound = []
    if at.published is not None:
        inbound.append(
            f'iifname "{at.wan}" ip daddr {at.wan_address} udp dport {at.published} '
            f"dnat ip to {at.inside}"
        )
    if nat.mapping is Mapping.ONE_TO_ONE or _admits_strangers(nat):
        inbound.append(f'iifname "{at.wan}" ip daddr {at.wan_address} {udp}{target}')
    if nat.hairpinning is Hairpinning.ON:
        inbound.append(f'iifname "{at.lan}" ip daddr {at.wan_address} {udp}{target}')
        # The answer must come back through the router, from the public address (REQ-9).
        random = " fully-random" if nat.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT else ""
        outbound.append(
            f'oifname "{at.lan}" ip saddr {at.lan_subnet} ct status dnat '
            f"snat ip to {at.wan_address}{random}"
        )

    chains = [
        _chain("prerouting", "type nat hook prerouting priority dstnat", "accept", inbound),
        _chain("postrouting", "type nat hook postrouting priority srcnat", "accept", outbound),
    ]
    if "@inside" in "".join(inbound):
        chains.insert(0, _learned("map inside", "inet_service : ipv4_addr . inet_service"))
        chains.append(_learn_inside(at))
    return _joined(chains)


def _learn_inside(at: Position) -> list[str]:
    """Note who stands behind a port, just after source NAT has picked it."""
    learn = f"ip saddr {at.wan_address} meta l4proto udp ct direction"
    return _chain(
        "learn",
        "type filter hook postrouting priority srcnat + 1",
        "accept",
        [
            f"{learn} {direction} ct {direction} ip saddr {at.lan_subnet} update @inside "
            f"{{ udp sport : ct {direction} ip saddr . ct {direction} proto-src }}"
            # A datagram of a flow that an outside host began travels in the reply direction.
            for direction in ("original", "reply")
        ],
    )


def _firewall(nat: Nat, at: Position) -> list[str]:
    outward = f'iifname "{at.lan}" oifname "{at.wan}"'
    inward = f'iifname "{at.wan}" oifname "{at.lan}"'
    if nat.translates:
        # Not what was sent to an inside address as such: nobody routes that on the internet.
        inward += " ct status dnat"
    contacted = nat.filtering is Filtering.ADDRESS_DEPENDENT

    forward = []
    if contacted:
        forward.append(f"{outward} update @contacted {{ ip saddr . udp sport . ip daddr }}")
    if nat.udp is Udp.BLOCKED:
        forward += [
            "ct state established,related accept",
            f"{outward} tcp dport 443 accept",
            f"{outward} reject with icmpx type admin-prohibited",
        ]
    else:
        forward += ["ct state established,related accept", f"{outward} accept"]
        if nat.hairpinning is Hairpinning.ON:
            forward.append(f'iifname "{at.lan}" oifname "{at.lan}" ct status dnat accept')
        if at.published is not None:
            forward.append(f"{inward} ip daddr {at.inside} udp dport {at.published} accept")
        match nat.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                forward.append(f"{inward} accept")
            case Filtering.ADDRESS_DEPENDENT:
                forward.append(f"{inward} ip daddr . udp dport . ip saddr @contacted accept")
            case Filtering.ADDRESS_AND_PORT_DEPENDENT:
                pass

    unsolicited = []
    if nat.input is Input.DROP:
        unsolicited.append(f'iifname "{at.wan}" ct state new drop')
    chains = [
        _chain("input", "type filter hook input priority filter", "accept", unsolicited),
        _chain("forward", "type filter hook forward priority filter", "drop", forward),
        # After hairpinning Linux would tell the sender of a shorter way, around the translation.
        _chain(
            "output",
            "type filter hook output priority filter",
            "accept",
            ["icmp type redirect drop"],
        ),
    ]
    if contacted:
        chains.insert(0, _learned("set contacted", "ipv4_addr . inet_service . ipv4_addr"))
    return _joined(chains)


def _admits_strangers(nat: Nat) -> bool:
    return nat.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT


def _learned(declaration: str, kind: str) -> list[str]:
    return [
        f"{declaration} {{",
        f"  type {kind}",
        "  flags dynamic,timeout",
        f"  timeout {LEARNED_SECONDS}s",
        "}",
    ]


def _chain(name: str, hook: str, policy: str, rules: list[str]) -> list[str]:
    return [f"chain {name} {{", f"  {hook}; policy {policy}", *(f"  {r}" for r in rules), "}"]


def _joined(blocks: list[list[str]]) -> list[str]:
    return [line for block in blocks for line in block]


def _table(family: str, body: list[str]) -> list[str]:
    return [f"table {family} {TABLE} {{", *(f"  {line}" for line in body), "}"]
