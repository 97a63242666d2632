"""What the states of a mapper come to: the next state, in the words of the protocol."""

from dataclasses import dataclass

from .values import Granted, MappingProtocol


@dataclass(frozen=True, slots=True)
class Map:
    """The gateway has made or renewed the mapping."""

    protocol: MappingProtocol
    granted: Granted


@dataclass(frozen=True, slots=True)
class Rest:
    """The gateway maps nothing now; `retry_after`: seconds that it wants to be left in peace."""

    retry_after: float | None


@dataclass(frozen=True, slots=True)
class SearchAnew:
    """Ask from the beginning."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is mapped, and nothing will be."""


Transition = Map | Rest | SearchAnew | End
