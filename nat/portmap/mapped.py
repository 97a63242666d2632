"""A mapping that stands: renewed after half its lifetime, watched, given up when it ends."""

from typing import Final, assert_never

from ..machine import Endpoint
from .asking import SEARCH_REQUESTS, Asking, earliest
from .desk import Desk
from .events import PortMapped, PortUnmapped
from .speakers import Meaning, Speaks
from .transitions import Map, Rest, SearchAnew, Transition
from .values import Granted, MappingProtocol, Refused

UPNP_RENEWAL: Final = 1200.0
"""Longest pause between renewals by UPnP, seconds: it has no epoch that would show a restart."""

WATCH: Final = 300.0
"""Seconds between looks at the gateway's epoch: two datagrams, for a restart whose announcement
did not reach us (multicast does not reach containers, for example)."""

RENEWAL_SPREAD: Final = 0.125
"""Part of the lifetime, after its half, within which it is renewed (RFC 6887 §11.2.1)."""

MIN_RENEWAL: Final = 15.0
"""Seconds between attempts to renew, however short the rest of a lifetime is."""


class Mapped:
    """A mapping stands.

    Args:
        desk: what all states share.
        map_: what was granted, and by which protocol.
        before: where the gateway took datagrams for us until now; `None`: nowhere.
        now: current time in seconds.
    """

    def __init__(self, desk: Desk, map_: Map, *, before: Endpoint | None, now: float) -> None:
        granted, upnp = map_.granted, map_.protocol is MappingProtocol.UPNP
        renew_in = granted.lifetime * (0.5 + desk.rng.uniform(0, RENEWAL_SPREAD))
        self.protocol = map_.protocol
        self.external = granted.external
        self.expires_at = now + granted.lifetime
        self._desk = desk
        self._renew_at = now + (min(renew_in, UPNP_RENEWAL) if upnp else renew_in)
        self._watch_at = None if upnp else now + WATCH
        self._asking: Asking | None = None
        self._upnp_pending = False
        desk.refusal = None
        desk.memory.succeeded(desk.uplink.gateway, granted.external)
        if granted.external != before:
            desk.tell(PortMapped(desk.uplink, granted.external, map_.protocol))

    def next_timeout(self) -> float | None:
        renewal = self._renew_at if self._asking is None else self._asking.at
        pending = None if self._upnp_pending else renewal
        return earliest(self.expires_at, self._watch_at, pending)

    def step(self, now: float) -> Transition | None:
        """Renew and look at the gateway when it is time."""
        if now >= self.expires_at:
            self._unmapped()
            return SearchAnew()
        if now >= self._renew_at and self._asking is None and not self._upnp_pending:
            self._begin_renewal(now)
        if self._asking is not None and self._asking.due(now):
            self._desk.conversation.ask(self.protocol, self.external)
        elif self._asking is not None and self._asking.failed(now):
            self._asking = None
            self._renew_at = now + max((self.expires_at - now) / 2, MIN_RENEWAL)
        if self._watch_at is not None and now >= self._watch_at:
            self._watch_at = now + WATCH
            self._desk.conversation.probe(self.protocol)
        return None

    def judge(self, protocol: MappingProtocol, meaning: Meaning) -> Transition | None:
        """Draw the consequences of an answer; one that is not awaited is an echo of the last."""
        upnp = protocol is MappingProtocol.UPNP
        if protocol is not self.protocol or (self._asking is None and not upnp):
            return None
        if upnp:
            self._upnp_pending = False
        match meaning := self._desk.believed(meaning):
            case Granted():
                return Map(protocol, meaning)
            case Refused(reason=reason, retry_after=retry_after):
                self._desk.refusal = reason
                self._unmapped()
                return Rest(retry_after)
            case Speaks():
                self._unmapped()
                return SearchAnew()
            case None:
                return None
            case _:
                assert_never(meaning)

    def hurry(self, at: float) -> bool:
        """Renew at a time; tells whether that is sooner than it would have been."""
        if self._asking is not None or at >= self._renew_at:
            return False
        self._renew_at = at
        return True

    def _begin_renewal(self, now: float) -> None:
        if self.protocol is MappingProtocol.UPNP:
            self._upnp_pending = True
            self._desk.ask_upnp(self.external.port)
        else:
            self._desk.conversation.begin()
            self._asking = Asking(SEARCH_REQUESTS, now)

    def _unmapped(self) -> None:
        self._desk.tell(PortUnmapped(self._desk.uplink))
