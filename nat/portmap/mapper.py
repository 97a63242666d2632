"""One port mapping at one gateway: found, renewed, and made anew when the gateway forgets it.

A search asks by PCP at once, by NAT-PMP too where PCP is not answered, and by UPnP a second later:
UPnP takes many messages, so it gets its turn only where the other two are silent or refuse. The
first grant wins. It is renewed at half its lifetime; if the gateway's clock shows that it has lost
its state (RFC 6887 §8.5), at once.

UPnP's HTTP and XML are the owner's: the mapper asks for a mapping by `UpnpMapRequested` and is told
by `upnp_answered`.
"""

from collections import Counter, deque
from random import Random
from typing import Final, assert_never

from ..machine import Datagram, Endpoint
from . import pcp
from .asking import RELEASE_REQUESTS, SEARCH_REQUESTS, Asking
from .conversation import LIFETIME, Conversation, Heard
from .events import (
    MapperEvent,
    MapperReport,
    MapperState,
    PortMapped,
    PortUnmapped,
    Released,
    UpnpAnswer,
    UpnpMapRequested,
    UpnpUnmapRequested,
)
from .memory import GatewayMemory
from .speakers import Meaning, Speaks
from .states import Ended, Mapped, Releasing, Resting, Searching, State
from .values import Granted, MappingProtocol, Refused, Uplink, believable

UPNP_HEAD_START: Final = 1.0
"""Seconds that PCP and NAT-PMP have for themselves: three requests, and a slow router's answer."""

NATPMP_AFTER: Final = 2
"""PCP requests without an answer after which NAT-PMP is asked beside them: some gateways drop what
they do not know instead of naming their version (RFC 6887 Appendix A)."""

UPNP_RENEWAL: Final = 1200.0
"""Longest pause between renewals by UPnP, seconds: it has no epoch that would show a restart."""

WATCH: Final = 300.0
"""Seconds between looks at the gateway's epoch: two datagrams, for a restart whose announcement
did not reach us (multicast does not reach containers, for example)."""

MIN_PAUSE: Final = 10.0
"""Seconds between requests that something else than our own timer sets off: announcements are not
authentic, and nobody may have us ask at line rate."""

ANNOUNCEMENT_SPREAD: Final = 5.0
"""Seconds over which the clients of a restarted gateway spread their requests (RFC 6887 §14.1.2):
all of them hear the announcement at once."""

RENEWAL_SPREAD: Final = 0.125
"""Part of the lifetime, after its half, within which it is renewed (RFC 6887 §11.2.1)."""

MIN_RENEWAL: Final = 15.0
"""Seconds between attempts to renew, however short the rest of a lifetime is."""


class Mapper:
    """The port mapping of one uplink; a `Machine`.

    Args:
        uplink: whose port is mapped, at which gateway.
        local: the endpoint of the socket towards the gateway.
        secret: from which the nonce comes. It must survive a restart: a gateway deletes or renews
            a mapping only for who knows its nonce (RFC 6887 §11.3).
        memory: of gateways that were asked before.
        rng: source of the spread of renewals.
        now: current time in seconds; the search begins at once.
    """

    def __init__(
        self,
        uplink: Uplink,
        *,
        local: Endpoint,
        secret: bytes,
        memory: GatewayMemory,
        rng: Random,
        now: float,
    ) -> None:
        self._uplink = uplink
        self._memory = memory
        self._rng = rng
        self._conversation = Conversation(uplink, local, secret)
        self._refusal: str | None = None
        self._hurried_at = now - MIN_PAUSE
        self._events: deque[MapperEvent] = deque()
        self._state: State = Resting(max(memory.quiet_until(uplink.gateway), now))
        self.handle_timeout(now)

    # What the owner says ----------------------------------------------------------------------

    def refused(self, now: float) -> None:
        """Take in that the gateway has no PCP or NAT-PMP server (ICMP port unreachable)."""
        if isinstance(self._state, Searching):
            self._state.give_up_asking(now)
            self.handle_timeout(now)

    def verify(self, now: float) -> None:
        """Renew soon: something hints that the gateway has changed."""
        self._hurry(0.0, now)
        self.handle_timeout(now)

    def upnp_answered(self, answer: UpnpAnswer, now: float) -> None:
        """Take in what `UpnpMapRequested` came to."""
        if answer is not None:
            self._conversation.spoken.add(MappingProtocol.UPNP)
        match self._state:
            case Searching() as searching:
                searching.upnp_pending = False
                self._judge(MappingProtocol.UPNP, answer, now)
            case Mapped(protocol=MappingProtocol.UPNP) as mapped:
                mapped.upnp_pending = False
                gone = Refused("the UPnP gateway does not answer any more")
                self._judge(MappingProtocol.UPNP, answer or gone, now)
            case _:
                if isinstance(answer, Granted):  # too late: another protocol won, or the end came
                    port = answer.external.port
                    self._events.append(UpnpUnmapRequested(self._uplink, port))
        self.handle_timeout(now)

    def upnp_deleted(self, now: float) -> None:
        """Take in that what `UpnpUnmapRequested` asked for has been done, or cannot be."""
        if isinstance(self._state, Releasing) and self._state.protocol is MappingProtocol.UPNP:
            self._end()

    def release(self, now: float) -> None:
        """Delete the mapping; `Released` follows."""
        match self._state:
            case Mapped(protocol=MappingProtocol.UPNP, external=external):
                self._state = Releasing(MappingProtocol.UPNP, None)
                self._events.append(UpnpUnmapRequested(self._uplink, external.port))
            case Mapped(protocol=protocol):
                self._state = Releasing(protocol, Asking(RELEASE_REQUESTS, now))
                self.handle_timeout(now)
            case Searching() as searching:
                # What was asked may have been granted, though we have not heard of it.
                if searching.pcp:
                    self._conversation.delete(MappingProtocol.PCP)
                if self._asks_natpmp(searching):
                    self._conversation.delete(MappingProtocol.NAT_PMP)
                self._end()
            case Resting():
                self._end()
            case Releasing() | Ended():
                pass
            case _:
                assert_never(self._state)

    # What it knows ----------------------------------------------------------------------------

    @property
    def external(self) -> Endpoint | None:
        """Where the gateway takes datagrams for us; `None`: nowhere."""
        return self._state.external if isinstance(self._state, Mapped) else None

    @property
    def ignored(self) -> Counter[str]:
        """Datagrams that were dropped, by reason."""
        return self._conversation.ignored

    def report(self, now: float) -> MapperReport:
        """Describe this mapping for a person."""
        spoken = tuple(p for p in MappingProtocol if p in self._conversation.spoken)
        match self._state:
            case Mapped(protocol=protocol, external=external, expires_at=expires_at):
                left = expires_at - now
                return MapperReport(
                    self._uplink, MapperState.MAPPED, spoken, protocol, external, left
                )
            case Searching():
                state = MapperState.SEARCHING
            case Resting():
                state = MapperState.RESTING
            case Releasing() | Ended():
                state = MapperState.RELEASING
            case _:
                assert_never(self._state)
        return MapperReport(self._uplink, state, spoken, refusal=self._refusal)

    # Machine ----------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        heard = self._conversation.hear(datagram, now)
        if heard is None:
            return
        if not heard.announced:
            self._judge(heard.protocol, heard.meaning, now)
        self._note_epoch(heard, now)
        self.handle_timeout(now)

    def handle_timeout(self, now: float) -> None:
        match self._state:
            case Searching() as searching:
                self._search(searching, now)
            case Mapped() as mapped:
                self._keep(mapped, now)
            case Resting(until=until):
                if now >= until:
                    self._begin_search(now)
            case Releasing(protocol=protocol, asking=asking):
                if asking is not None and asking.due(now):
                    self._conversation.delete(protocol)
                elif asking is not None and asking.failed(now):
                    self._end()
            case Ended():
                pass
            case _:
                assert_never(self._state)

    def next_timeout(self) -> float | None:
        return self._state.next_timeout()

    def datagrams_to_send(self) -> list[Datagram]:
        return self._conversation.datagrams_to_send()

    def next_event(self) -> MapperEvent | None:
        return self._events.popleft() if self._events else None

    # Searching --------------------------------------------------------------------------------

    @property
    def _v4(self) -> bool:
        return self._uplink.base.ip.version == 4

    @property
    def _suggested(self) -> Endpoint:
        """What the gateway mapped last; before that, our own port at whatever address."""
        base = self._uplink.base
        unspecified = Endpoint(pcp.unspecified(base.ip.version), base.port)
        return self._memory.last_external(self._uplink.gateway) or unspecified

    def _begin_search(self, now: float) -> None:
        self._conversation.begin()
        self._refusal = None
        # NAT-PMP and UPnP port mappings are of IPv4; IPv6 needs pinholes, which PCP makes.
        upnp_at = now + UPNP_HEAD_START if self._v4 else None
        self._state = Searching(Asking(SEARCH_REQUESTS, now), upnp_at)
        self.handle_timeout(now)

    def _search(self, searching: Searching, now: float) -> None:
        asking = searching.asking
        if asking.due(now):
            if searching.pcp:
                self._conversation.ask(MappingProtocol.PCP, self._suggested)
            if self._asks_natpmp(searching):
                self._conversation.ask(MappingProtocol.NAT_PMP, self._suggested)
        if searching.upnp_at is not None and now >= searching.upnp_at:
            searching.upnp_at, searching.upnp_pending = None, True
            self._events.append(UpnpMapRequested(self._uplink, self._suggested.port, LIFETIME))
        if asking.failed(now) and searching.upnp_at is None and not searching.upnp_pending:
            self._rest(searching.retry_after, now)

    def _asks_natpmp(self, searching: Searching) -> bool:
        return searching.natpmp or (self._v4 and searching.asking.sent > NATPMP_AFTER)

    def _judge(self, protocol: MappingProtocol, meaning: Meaning, now: float) -> None:
        """Draw the consequences of an answer to what was asked."""
        match self._state:
            case Searching() as searching:
                meaning = self._believed(meaning)
                self._judge_search(searching, protocol, meaning, now)
            case Mapped(protocol=used) as mapped if used is protocol:
                # A renewal that is not awaited is an echo of the last one.
                if mapped.asking is not None or protocol is MappingProtocol.UPNP:
                    self._judge_renewal(mapped, self._believed(meaning), now)
            case Releasing(protocol=used) if used is protocol and meaning is not None:
                self._end()
            case _:
                pass

    def _believed(self, meaning: Meaning) -> Meaning:
        if isinstance(meaning, Granted):
            return believable(meaning, self._uplink.base)
        return meaning

    def _judge_search(
        self, searching: Searching, protocol: MappingProtocol, meaning: Meaning, now: float
    ) -> None:
        match meaning:
            case Granted():
                self._map(protocol, meaning, now)
            case Refused(reason=reason, retry_after=retry_after):
                self._refusal = reason
                searching.retry_after = retry_after
                if protocol is not MappingProtocol.UPNP:
                    searching.give_up_asking(now)
            case Speaks(natpmp=natpmp):
                begin_natpmp = searching.pcp and natpmp and self._v4
                searching.pcp = False
                if begin_natpmp:
                    searching.natpmp = True
                    searching.asking = Asking(SEARCH_REQUESTS, now)
                else:
                    searching.give_up_asking(now)
            case None:
                pass
            case _:
                assert_never(meaning)

    def _rest(self, retry_after: float | None, now: float) -> None:
        self._state = Resting(self._memory.failed(self._uplink.gateway, retry_after, now))

    # Mapped -----------------------------------------------------------------------------------

    def _map(self, protocol: MappingProtocol, granted: Granted, now: float) -> None:
        before = self.external
        renew_in = granted.lifetime * (0.5 + self._rng.uniform(0, RENEWAL_SPREAD))
        upnp = protocol is MappingProtocol.UPNP
        self._refusal = None
        self._memory.succeeded(self._uplink.gateway, granted.external)
        self._state = Mapped(
            protocol,
            granted.external,
            expires_at=now + granted.lifetime,
            renew_at=now + (min(renew_in, UPNP_RENEWAL) if upnp else renew_in),
            watch_at=None if upnp else now + WATCH,
        )
        if granted.external != before:
            self._events.append(PortMapped(self._uplink, granted.external, protocol))

    def _keep(self, mapped: Mapped, now: float) -> None:
        if now >= mapped.expires_at:
            self._events.append(PortUnmapped(self._uplink))
            self._begin_search(now)
            return
        if now >= mapped.renew_at and mapped.asking is None and not mapped.upnp_pending:
            self._begin_renewal(mapped, now)
        if mapped.asking is not None and mapped.asking.due(now):
            self._conversation.ask(mapped.protocol, mapped.external)
        elif mapped.asking is not None and mapped.asking.failed(now):
            mapped.asking = None
            mapped.renew_at = now + max((mapped.expires_at - now) / 2, MIN_RENEWAL)
        if mapped.watch_at is not None and now >= mapped.watch_at:
            mapped.watch_at = now + WATCH
            self._conversation.probe(mapped.protocol)

    def _begin_renewal(self, mapped: Mapped, now: float) -> None:
        if mapped.protocol is MappingProtocol.UPNP:
            mapped.upnp_pending = True
            port = mapped.external.port
            self._events.append(UpnpMapRequested(self._uplink, port, LIFETIME))
        else:
            self._conversation.begin()
            mapped.asking = Asking(SEARCH_REQUESTS, now)

    def _judge_renewal(self, mapped: Mapped, meaning: Meaning, now: float) -> None:
        match meaning:
            case Granted():
                self._map(mapped.protocol, meaning, now)
            case Refused(reason=reason, retry_after=retry_after):
                self._refusal = reason
                self._events.append(PortUnmapped(self._uplink))
                self._rest(retry_after, now)
            case Speaks():
                self._events.append(PortUnmapped(self._uplink))
                self._begin_search(now)
            case None:
                pass
            case _:
                assert_never(meaning)

    # The gateway's restart --------------------------------------------------------------------

    def _note_epoch(self, heard: Heard, now: float) -> None:
        """Map again if the gateway has lost its state, or has another public address."""
        delay = self._rng.uniform(0, ANNOUNCEMENT_SPREAD) if heard.announced else 0.0
        match self._state:
            case Mapped(external=external):
                moved = heard.public is not None and heard.public != external.ip
                # An answer that has just renewed the mapping has also made it anew.
                renewed = isinstance(heard.meaning, Granted) and not heard.announced
                if moved or (not heard.continues and not renewed):
                    self._hurry(delay, now)
            case Resting(until=until):
                if heard.announced and now - self._hurried_at >= MIN_PAUSE:
                    self._hurried_at = now
                    self._state = Resting(min(until, now + delay))
            case _:
                pass

    def _hurry(self, delay: float, now: float) -> None:
        """Renew soon, unless that was done just now."""
        mapped = self._state
        if isinstance(mapped, Mapped) and mapped.asking is None:
            at = max(now + delay, self._hurried_at + MIN_PAUSE)
            if at < mapped.renew_at:
                self._hurried_at = mapped.renew_at = at

    def _end(self) -> None:
        self._state = Ended()
        self._events.append(Released(self._uplink))
