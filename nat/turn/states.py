"""The states of an `Allocation`: each holds only what exists in it."""

from dataclasses import dataclass
from typing import Final

from ..machine import Endpoint

DEFAULT_LIFETIME: Final = 600
"""Seconds of an allocation whose server does not say (RFC 8656 §7.2)."""

LEAST_LIFETIME: Final = 30
"""Seconds of the shortest allocation that is worth having. Whoever grants less (RFC 8656 §7.2 has
servers grant 600 at least) would have us refresh, or allocate anew, without end."""

REFRESH_SHARE: Final = 0.5
"""Share of its lifetime after which an allocation is refreshed: five minutes of the default, so
that many failed attempts fit before its end."""


@dataclass(slots=True)
class Offline:
    """No connection."""


@dataclass(slots=True)
class Idle:
    """Connected; no allocation is wanted."""


@dataclass(slots=True)
class Allocating:
    """Asked for, not answered yet."""


@dataclass(slots=True)
class Allocated:
    """The server relays.

    Attributes:
        relayed: relayed transport addresses, one a family.
        refresh_at: when to refresh it.
        expires_at: when the server forgets it.
    """

    relayed: tuple[Endpoint, ...]
    refresh_at: float
    expires_at: float

    def prolong(self, lifetime: int | None, now: float) -> None:
        """Take in the seconds that a server grants; `None`: it does not say."""
        seconds = DEFAULT_LIFETIME if lifetime is None else lifetime
        self.refresh_at = now + REFRESH_SHARE * seconds
        self.expires_at = now + seconds


@dataclass(slots=True)
class Resting:
    """Nothing is asked until a moment.

    Attributes:
        reconnect: whether another connection is needed then.
    """

    until: float
    reconnect: bool


State = Offline | Idle | Allocating | Allocated | Resting


def lasts(lifetime: int | None) -> bool:
    """Whether an allocation with the lifetime that a server grants is worth having."""
    return lifetime is None or lifetime >= LEAST_LIFETIME
