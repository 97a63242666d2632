"""What a host's own packet filter lets in, and what its access point keeps apart. Pure.

Neither is meant for the tunnel, whose interface has another name than the node's cables.
"""

from collections.abc import Mapping as Environment
from ipaddress import IPv4Network
from typing import Final

from .errors import TopologyError

TABLE: Final = "kbwg_host"

STATEFUL: Final = 'iifname "eth*" ct state { new, invalid } drop'
"""Only what belongs to something that the host has sent comes in."""


def ruleset(environment: Environment[str, str], subnet: IPv4Network | None, gateway: str) -> str:
    """Write the rules for `nft -f -`; nothing if there are none.

    Args:
        environment: `FIREWALL` and `ISOLATION`, each `on` or `off`.
        subnet: the host's own network, in which client isolation leaves it alone with its gateway.
        gateway: that gateway.

    Raises:
        TopologyError: another value, or isolation of a host that has no IPv4 network.
    """
    inward = [STATEFUL] if _on(environment, "FIREWALL") else []
    outward = []
    if _on(environment, "ISOLATION"):
        if subnet is None:
            raise TopologyError("ISOLATION needs a network with IPv4")
        # As a wireless access point does that keeps its stations from each other.
        inward.append(f"ip saddr {subnet} ip saddr != {gateway} ip daddr {subnet} drop")
        outward.append(f"ip daddr {subnet} ip daddr != {gateway} ip saddr {subnet} drop")
    if not inward and not outward:
        return ""
    chains = {"input": inward, "output": outward}
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for hook, rules in chains.items():
        lines += [
            f"  chain {hook} {{",
            f"    type filter hook {hook} priority filter; policy accept",
            *(f"    {rule}" for rule in rules),
            "  }",
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _on(environment: Environment[str, str], name: str) -> bool:
    match environment.get(name) or "off":
        case "on":
            return True
        case "off":
            return False
        case other:
            raise TopologyError(f"{name} is one of on, off, not {other!r}")
