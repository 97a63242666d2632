"""What would make a path direct, or make one at all: advice with the exact thing to do."""

from enum import Enum

from .facts import Facts


class Remedy(Enum):
    """A piece of advice; `{port}` is our listen port."""

    UPGRADE_PEER = "run kbwg on it"
    START_PEER = "see that its agent runs there: `kbwg status`"
    NETWORK_HERE = "give this host a network"
    NETWORK_THERE = "look at `kbwg status` there"
    SECOND_FAMILY = "give either host the other IP version"
    DUAL_STACK_RELAY = "name a TURN server that has both IPv4 and IPv6"
    OPEN_UDP_HERE = "let UDP out of this network"
    OPEN_UDP_THERE = "let UDP out of its network"
    RELAY_OVER_TLS = "name a TURN server that takes TLS on port 443"
    RELAY = "name a TURN server, so that there is a path at all"
    ALLOW_WIREGUARD = (
        "allow WireGuard's UDP port {port} in the firewalls on the way, not STUN alone"
    )
    LOCAL_FIREWALL = "look at the routes and the output filter of this host"
    ALLOW_LAN = "let the two talk inside their network (client isolation off)"
    HAIRPIN = "turn on NAT loopback (hairpinning) on the router"
    PUBLISH_ANY = "forward or publish one side's UDP port (here {port}), or use host networking"
    PUBLISH_HERE = "forward or publish UDP port {port} of this host, or use host networking"
    PUBLISH_THERE = "forward or publish its UDP port, or use host networking there"
    PUBLISH_PEER = "forward its UDP port, so that its announced endpoint is reached"
    PORT_MAPPING_ANY = "turn on port mapping (PCP, NAT-PMP or UPnP) on either router"
    PREDICTION = "set KBWG_PORT_PREDICTION=on on both sides"
    FIREWALL_ANY = "let UDP to the listen ports through the firewalls of both hosts"

    def helps(self, facts: Facts) -> bool:
        """Whether it is not done already."""
        match self:
            case Remedy.PREDICTION:
                return not facts.prediction
            case Remedy.RELAY:
                return not facts.relays
            case Remedy.DUAL_STACK_RELAY | Remedy.RELAY_OVER_TLS:
                return facts.relayed is not True
            case _:
                return True


def advice(remedies: tuple[Remedy, ...], facts: Facts, listen_port: int) -> tuple[str, ...]:
    """Return what is still to be done, as sentences without a full stop."""
    return tuple(
        remedy.value.format(port=listen_port) for remedy in remedies if remedy.helps(facts)
    )
