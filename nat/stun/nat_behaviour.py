"""What a NAT does, in the words of RFC 4787, and how that follows from what servers saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..machine import Endpoint, IPAddress


class MappingBehaviour(Enum):
    """How a NAT picks the public endpoint (RFC 4787 §4.1)."""

    NONE = "none"
    """No translation."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    DESTINATION_DEPENDENT = "destination-dependent"
    """One of the two above: servers with one port each cannot tell which."""

    UNKNOWN = "unknown"

    @property
    def fixed(self) -> bool | None:
        """Whether all destinations see one endpoint; `None`: not known."""
        if self is MappingBehaviour.UNKNOWN:
            return None
        return self in (MappingBehaviour.NONE, MappingBehaviour.ENDPOINT_INDEPENDENT)


class FilteringBehaviour(Enum):
    """From whom a NAT or a firewall lets datagrams in (RFC 4787 §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NatBehaviour:
    """What is known of the NAT, or the firewall, between an address of ours and the internet.

    Attributes:
        hairpinning: whether hosts behind it reach each other by their public endpoints
            (RFC 4787 §6); `None`: not known, or nothing is translated.
        port_preservation: whether it keeps source ports where it can (RFC 4787 §4.2.1); `None`
            likewise.
        public: the address that servers saw.
    """

    mapping: MappingBehaviour = MappingBehaviour.UNKNOWN
    filtering: FilteringBehaviour = FilteringBehaviour.UNKNOWN
    hairpinning: bool | None = None
    port_preservation: bool | None = None
    public: IPAddress | None = None


def judge_mapping(base: Endpoint, mapped: Mapping[Endpoint, Endpoint]) -> MappingBehaviour:
    """Classify a mapping by what the servers at each destination saw (RFC 5780 §4.3).

    RFC 5780 asks the other address at both of its ports; asking the first address at both says the
    same, and also whether the endpoint lives from which a filtering test will be answered.
    """
    if not mapped:
        return MappingBehaviour.UNKNOWN
    if set(mapped.values()) == {base}:
        return MappingBehaviour.NONE
    by_address: dict[IPAddress, set[Endpoint]] = {}
    for destination, seen in mapped.items():
        by_address.setdefault(destination.ip, set()).add(seen)
    if any(len(seen) > 1 for seen in by_address.values()):
        return MappingBehaviour.ADDRESS_AND_PORT_DEPENDENT
    if len(by_address) == 1:
        return MappingBehaviour.UNKNOWN
    if len(set(mapped.values())) == 1:
        return MappingBehaviour.ENDPOINT_INDEPENDENT
    if len(mapped) > len(by_address):  # two ports of one address saw the same
        return MappingBehaviour.ADDRESS_DEPENDENT
    return MappingBehaviour.DESTINATION_DEPENDENT
