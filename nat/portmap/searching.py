"""Asking a gateway for a mapping in every protocol that it may speak.

PCP is asked at once, NAT-PMP too where PCP is not answered, and UPnP a second later: UPnP takes many
messages, so it gets its turn only where the other two are silent or refuse. The first grant wins.
"""

from typing import Final, assert_never

from .asking import SEARCH_REQUESTS, Asking, earliest
from .desk import Desk
from .speakers import Meaning, Speaks
from .transitions import Map, Rest, Transition
from .values import Granted, MappingProtocol, Refused

UPNP_HEAD_START: Final = 1.0
"""Seconds that PCP and NAT-PMP have for themselves: three requests, and a slow router's answer."""

NATPMP_AFTER: Final = 2
"""PCP requests without an answer after which NAT-PMP is asked beside them: some gateways drop what
they do not know instead of naming their version (RFC 6887 Appendix A)."""


class Searching:
    """Nothing is mapped, and somebody is being asked."""

    def __init__(self, desk: Desk, now: float) -> None:
        self._desk = desk
        self._asking = Asking(SEARCH_REQUESTS, now)
        self._pcp = True
        self._natpmp = False
        self._upnp_at: float | None = now + UPNP_HEAD_START
        self._upnp_pending = False
        self._retry_after: float | None = None
        desk.conversation.begin()
        desk.refusal = None

    def next_timeout(self) -> float | None:
        # Once nobody else is left to ask, UPnP's answer ends the search.
        last = self._asking.left == 0 and self._upnp_pending
        return earliest(None if last else self._asking.at, self._upnp_at)

    def step(self, now: float) -> Transition | None:
        """Ask whoever is due; rest once everybody has been."""
        conversation = self._desk.conversation
        if self._asking.due(now):
            if self._pcp:
                conversation.ask(MappingProtocol.PCP, self._desk.suggested)
            if self._asks_natpmp:
                conversation.ask(MappingProtocol.NAT_PMP, self._desk.suggested)
        if self._upnp_at is not None and now >= self._upnp_at:
            self._upnp_at, self._upnp_pending = None, True
            self._desk.ask_upnp(self._desk.suggested.port)
        if self._asking.failed(now) and self._upnp_at is None and not self._upnp_pending:
            return Rest(self._retry_after)
        return None

    def judge(self, protocol: MappingProtocol, meaning: Meaning, now: float) -> Transition | None:
        """Draw the consequences of an answer."""
        if protocol is MappingProtocol.UPNP:
            self._upnp_pending = False
        match meaning := self._desk.believed(meaning):
            case Granted():
                return Map(protocol, meaning)
            case Refused(reason=reason, retry_after=retry_after):
                self._desk.refusal = reason
                self._retry_after = retry_after
                if protocol is not MappingProtocol.UPNP:
                    self.give_up_asking(now)
            case Speaks(natpmp=natpmp):
                begin_natpmp = self._pcp and natpmp and self._desk.v4
                self._pcp = False
                if begin_natpmp:
                    self._natpmp = True
                    self._asking = Asking(SEARCH_REQUESTS, now)
                else:
                    self.give_up_asking(now)
            case None:
                pass
            case _:
                assert_never(meaning)
        return None

    def give_up_asking(self, now: float) -> None:
        """Stop asking by PCP and NAT-PMP; UPnP need not wait for them any more."""
        self._asking.give_up()
        if self._upnp_at is not None:
            self._upnp_at = now

    def take_back(self) -> None:
        """Delete what may have been granted, though we have not heard of it."""
        if self._pcp:
            self._desk.conversation.delete(MappingProtocol.PCP)
        if self._asks_natpmp:
            self._desk.conversation.delete(MappingProtocol.NAT_PMP)

    @property
    def _asks_natpmp(self) -> bool:
        return self._natpmp or (self._desk.v4 and self._asking.sent > NATPMP_AFTER)
