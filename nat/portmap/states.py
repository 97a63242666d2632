"""The states of a `Mapper`: each holds only what exists in it."""

from dataclasses import dataclass

from ..machine import Endpoint
from .asking import Asking
from .values import MappingProtocol


@dataclass(slots=True)
class Searching:
    """Nothing is mapped, and somebody is being asked."""

    asking: Asking
    """By PCP and NAT-PMP."""

    upnp_at: float | None
    """When UPnP is asked; `None`: it has been, or cannot be."""

    upnp_pending: bool = False
    """Whether UPnP's answer is awaited."""

    pcp: bool = True
    """Whether the gateway may speak PCP."""

    natpmp: bool = False
    """Whether the gateway is known to speak NAT-PMP."""

    retry_after: float | None = None
    """Seconds for which a refusal holds, by the gateway's own words."""

    def give_up_asking(self, now: float) -> None:
        """Stop asking by PCP and NAT-PMP; UPnP need not wait for them any more."""
        self.asking.give_up()
        if self.upnp_at is not None:
            self.upnp_at = now

    def next_timeout(self) -> float | None:
        # Once nobody else is left to ask, UPnP's answer ends the search.
        last = self.asking.left == 0 and self.upnp_pending
        return _earliest(None if last else self.asking.at, self.upnp_at)


@dataclass(slots=True)
class Mapped:
    """A mapping stands."""

    protocol: MappingProtocol
    external: Endpoint
    expires_at: float
    renew_at: float
    watch_at: float | None
    """When the gateway's epoch is looked at; `None`: UPnP has none."""

    asking: Asking | None = None
    """The renewal by PCP or NAT-PMP that is under way."""

    upnp_pending: bool = False
    """Whether a renewal by UPnP is under way."""

    def next_timeout(self) -> float | None:
        renewal = self.renew_at if self.asking is None else self.asking.at
        pending = None if self.upnp_pending else renewal
        return _earliest(self.expires_at, self.watch_at, pending)


@dataclass(slots=True)
class Resting:
    """The gateway maps nothing; it is asked again at `until`."""

    until: float

    def next_timeout(self) -> float | None:
        return self.until


@dataclass(slots=True)
class Releasing:
    """The mapping is being deleted."""

    protocol: MappingProtocol
    asking: Asking | None
    """`None`: UPnP does it."""

    def next_timeout(self) -> float | None:
        return None if self.asking is None else self.asking.at


@dataclass(slots=True)
class Ended:
    """Nothing is mapped, and nothing will be."""

    def next_timeout(self) -> float | None:
        return None


State = Searching | Mapped | Resting | Releasing | Ended


def _earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
