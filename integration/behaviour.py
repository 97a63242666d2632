"""What a NAT or a firewall does, in the words of RFC 4787."""

from collections.abc import Mapping as Environment
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from .errors import TopologyError


class Mapping(Enum):
    """How the public endpoint is picked (RFC 4787 §4.1), and two things that are not NAPT."""

    NONE = "none"
    """No translation: a router or a stateful firewall."""

    ONE_TO_ONE = "one-to-one"
    """A whole public address for one inside host; ports are kept."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Filtering(Enum):
    """From whom datagrams are let in (RFC 4787 §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class Hairpinning(Enum):
    """Whether inside hosts reach each other by their public endpoints (RFC 4787 §6)."""

    ON = "on"
    OFF = "off"


class Input(Enum):
    """What the router does with unsolicited datagrams to itself.

    One that accepts them, as a Linux router without a firewall and a Docker host do, remembers
    a peer's early check as a flow of its own and then gives our answer another port.
    """

    DROP = "drop"
    ACCEPT = "accept"


class Udp(Enum):
    """Whether UDP gets out at all; where it is blocked only TCP to port 443 does."""

    OPEN = "open"
    BLOCKED = "blocked"


_Choice = TypeVar("_Choice", bound=Enum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """The behaviour of one router. The defaults are those of most homes."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    hairpinning: Hairpinning = Hairpinning.OFF
    input: Input = Input.DROP
    udp: Udp = Udp.OPEN

    @classmethod
    def from_environment(cls, environment: Environment[str, str]) -> "Nat":
        """Read `NAT_MAPPING`, `NAT_FILTERING`, `NAT_HAIRPINNING`, `NAT_INPUT` and `NAT_UDP`.

        Raises:
            TopologyError: a value is none of those that the variable takes.
        """

        def choice(name: str, default: _Choice) -> _Choice:
            text = environment.get(name) or default.value
            try:
                return type(default)(text)
            except ValueError:
                values = ", ".join(member.value for member in type(default))
                raise TopologyError(f"{name} is one of {values}, not {text!r}") from None

        return cls(
            mapping=choice("NAT_MAPPING", cls().mapping),
            filtering=choice("NAT_FILTERING", cls().filtering),
            hairpinning=choice("NAT_HAIRPINNING", cls().hairpinning),
            input=choice("NAT_INPUT", cls().input),
            udp=choice("NAT_UDP", cls().udp),
        )

    @property
    def translates(self) -> bool:
        return self.mapping is not Mapping.NONE

    def settings(self, prefix: str) -> dict[str, str]:
        """Give the variables of a topology that make its router `prefix` behave so.

        For example `NAT_A_MAPPING` and so on for the prefix `NAT_A`.
        """
        return {
            f"{prefix}_MAPPING": self.mapping.value,
            f"{prefix}_FILTERING": self.filtering.value,
            f"{prefix}_HAIRPINNING": self.hairpinning.value,
            f"{prefix}_INPUT": self.input.value,
            f"{prefix}_UDP": self.udp.value,
        }
