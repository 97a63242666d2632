"""The eleven kinds of network that a host may stand in: the rows and columns of the NAT grid."""

import re
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

from .behaviour import Filtering, Mapping, Nat, Udp
from .errors import LabError
from .expectation import cascade

ROUTED: Final = Nat(mapping=Mapping.NONE, filtering=Filtering.ENDPOINT_INDEPENDENT)
"""A router that neither translates nor filters."""


PUBLIC_HOMES: Final = {"A": "198.18.101", "B": "198.18.102"}
"""The networks of homes that nobody translates: a relay reaches no private address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What stands between a host and the internet."""

    name: str
    text: str
    home: Nat
    carrier: Nat = ROUTED
    host_firewall: bool = False
    """Whether the host itself lets in only what it has asked for."""

    @property
    def nat(self) -> Nat:
        """All of it together, as the internet sees it."""
        firewall = Nat(mapping=Mapping.NONE) if self.host_firewall else ROUTED
        return cascade(cascade(firewall, self.home), self.carrier)

    def settings(self, side: str) -> dict[str, str]:
        """Give the variables of `pair.yaml` that put side `A` or `B` into such a network."""
        return {
            **({} if self.nat.translates else {f"HOME_{side}": PUBLIC_HOMES[side]}),
            **self.home.settings(f"NAT_{side}"),
            **self.carrier.settings(f"NAT_{side}_CARRIER"),
            f"HOST_{side}_FIREWALL": "on" if self.host_firewall else "off",
        }


_OPEN: Final = Filtering.ENDPOINT_INDEPENDENT
_HOME: Final = Nat()
_SYMMETRIC: Final = Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT)

KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(name="PUB", text="public address, no filter", home=ROUTED),
        Kind(
            name="FW",
            text="public address, stateful host firewall",
            home=ROUTED,
            host_firewall=True,
        ),
        Kind(
            name="ONE",
            text="one public address for one host (1:1 NAT)",
            home=Nat(mapping=Mapping.ONE_TO_ONE, filtering=_OPEN),
        ),
        Kind(name="FC", text="NAT, full cone", home=Nat(filtering=_OPEN)),
        Kind(
            name="AR",
            text="NAT, address-restricted",
            home=Nat(filtering=Filtering.ADDRESS_DEPENDENT),
        ),
        Kind(name="MQ", text="NAT, port-restricted: most homes", home=_HOME),
        Kind(name="SY", text="NAT, symmetric", home=_SYMMETRIC),
        Kind(
            name="CG(MQ:MQ)",
            text="home behind a carrier's NAT",
            home=_HOME,
            carrier=_HOME,
        ),
        Kind(
            name="CG(MQ:SY)",
            text="home behind a symmetric carrier",
            home=_HOME,
            carrier=_SYMMETRIC,
        ),
        Kind(
            name="CG(SY:FC)",
            text="symmetric home behind a full-cone carrier",
            home=_SYMMETRIC,
            carrier=Nat(filtering=_OPEN),
        ),
        Kind(name="UB", text="UDP blocked, TCP to port 443 passes", home=Nat(udp=Udp.BLOCKED)),
    )
}
"""By name, in the order of the table: from the most to the least open."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of kinds."""

    a: Kind
    b: Kind

    def __str__(self) -> str:
        return f"{self.a.name}:{self.b.name}"

    @property
    def settings(self) -> dict[str, str]:
        """The variables of `pair.yaml`."""
        return {**self.a.settings("A"), **self.b.settings("B")}


def cells() -> tuple[Cell, ...]:
    """List all unordered pairs, row by row."""
    return tuple(Cell(a, b) for a, b in combinations_with_replacement(KINDS.values(), 2))


_CELL: Final = re.compile(r"([A-Z]+(?:\([^()]*\))?):([A-Z]+(?:\([^()]*\))?)")


def parse_cell(text: str) -> Cell:
    """Read `A:B`, for example `MQ:CG(MQ:SY)`.

    Raises:
        LabError: not two kinds; says which there are.
    """
    match = _CELL.fullmatch(text.upper())
    names = match.groups() if match else ()
    if not names or not all(name in KINDS for name in names):
        raise LabError(f"a cell is A:B, each one of {', '.join(KINDS)}; not {text!r}")
    return Cell(*(KINDS[name] for name in names))
