"""What would improve a host's connections: rules, the most helpful first."""

from collections.abc import Iterator, Sequence

from ..nat_report import VARYING
from ..status import NatStatus, PortMappingState, PortMappingStatus, RelayStatus


def advise(
    *,
    nat: Sequence[NatStatus],
    turn: Sequence[RelayStatus] = (),
    port_mapping: Sequence[PortMappingStatus],
    port_mapping_off: bool,
    udp_blocked: bool,
    servers: int,
    port: int | None,
) -> tuple[str, ...]:
    """Return what a person could do, one sentence each.

    Args:
        nat: what stands before each address that was tested.
        turn: the TURN servers that are named.
        port_mapping: what became of it at each gateway.
        port_mapping_off: whether the settings forbid it.
        udp_blocked: whether no STUN server answered.
        servers: how many were asked.
        port: WireGuard's; `None`: not known.
    """
    rules = (
        _udp(udp_blocked, turn),
        _relays(turn),
        _servers(servers, nat, udp_blocked),
        _mapping(nat, port_mapping, port_mapping_off, port),
        _second_nat(port_mapping),
    )
    return tuple(text for rule in rules for text in rule)


def _udp(blocked: bool, turn: Sequence[RelayStatus]) -> Iterator[str]:
    if not blocked:
        return
    if any(server.relayed for server in turn):
        yield "Allow outgoing UDP in the firewall: until then a TURN server carries everything."
    else:
        yield "Allow outgoing UDP in the firewall; or name a TURN server that is reached by TLS."


def _relays(turn: Sequence[RelayStatus]) -> Iterator[str]:
    """Name the servers that do not work, unless another does: one of several may be away."""
    if any(server.relayed for server in turn):
        return
    for server in turn:
        if server.trouble is not None:
            yield f"The TURN server {server.server} {server.trouble}: no relay is there if needed."


def _servers(count: int, nat: Sequence[NatStatus], udp_blocked: bool) -> Iterator[str]:
    if count == 0:
        yield "Name STUN servers in KBWG_STUN_SERVERS: without them no peer outside finds this host."
    elif count == 1:
        yield "Name a second STUN server: one alone does not show how the NAT maps."
    elif not udp_blocked and nat and all(one.filtering == "unknown" for one in nat):
        yield (
            "Filtering is unknown because no STUN server here does RFC 5780 (coturn with two "
            "addresses does); nothing depends on it."
        )


def _mapping(
    nat: Sequence[NatStatus],
    port_mapping: Sequence[PortMappingStatus],
    off: bool,
    port: int | None,
) -> Iterator[str]:
    v4 = [one for one in nat if ":" not in one.address]
    translated = any(one.mapping not in ("none", "unknown") for one in v4)
    closed = any(one.filtering != "endpoint-independent" for one in v4)
    mapped = any(
        one.state is PortMappingState.MAPPED and ":" not in one.gateway for one in port_mapping
    )
    if not translated or not closed or mapped:
        return
    hard = any(one.mapping in VARYING for one in v4)
    gain = "make every path direct" if hard else "make paths to peers behind symmetric NATs direct"
    if off:
        yield f"Set KBWG_PORT_MAPPING=on: a router that maps ports would {gain}."
        return
    for one in port_mapping:
        if one.refusal is not None and ":" not in one.gateway:
            yield f"The router {one.gateway} refuses to map ports ({one.refusal}): allow it there."
            return
    which = "WireGuard's UDP port" if port is None else f"UDP port {port}"
    yield (
        f"Switch on PCP, NAT-PMP or UPnP in the router, or forward {which} to this host and "
        f"name it in KBWG_ADVERTISE: that would {gain}."
    )


def _second_nat(port_mapping: Sequence[PortMappingStatus]) -> Iterator[str]:
    for one in port_mapping:
        if one.behind_another_nat:
            yield (
                f"The router {one.gateway} is itself behind a NAT ({one.external}): its mapping helps "
                "only there. Ask the provider for a public address, or use IPv6."
            )
