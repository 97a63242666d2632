"""One port mapping at one gateway: found, renewed, and made anew when the gateway forgets it.

It is in one of five `states`, each of which says what it comes to (`transitions`). If the gateway's
clock shows that it has lost its state (RFC 6887 §8.5), the mapping is renewed at once.

UPnP's HTTP and XML are the owner's: the mapper asks for a mapping by `UpnpMapRequested` and is told
by `upnp_answered`.
"""

from collections import Counter
from random import Random
from typing import Final, assert_never

from ..machine import Datagram, Endpoint
from .conversation import Conversation, Heard
from .desk import Desk
from .events import (
    MapperEvent,
    MapperReport,
    MapperState,
    Released,
    UpnpAnswer,
    UpnpUnmapRequested,
)
from .mapped import Mapped
from .memory import GatewayMemory
from .releasing import Releasing
from .searching import Searching
from .speakers import Meaning
from .states import Ended, Resting, State
from .transitions import End, Map, Rest, SearchAnew, Transition
from .values import Granted, MappingProtocol, Refused, Uplink

MIN_PAUSE: Final = 10.0
"""Seconds between requests that something else than our own timer sets off: announcements are not
authentic, and nobody may have us ask at line rate."""

ANNOUNCEMENT_SPREAD: Final = 5.0
"""Seconds over which the clients of a restarted gateway spread their requests (RFC 6887 §14.1.2):
all of them hear the announcement at once."""


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
        self._desk = Desk(uplink, conversation=self._conversation, memory=memory, rng=rng)
        self._hurried_at = now - MIN_PAUSE
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
            case Searching():
                self._judge(MappingProtocol.UPNP, answer, now)
            case Mapped(protocol=MappingProtocol.UPNP):
                gone = Refused("the UPnP gateway does not answer any more")
                self._judge(MappingProtocol.UPNP, answer or gone, now)
            case _:
                if isinstance(answer, Granted):  # too late: another protocol won, or the end came
                    self._desk.tell(UpnpUnmapRequested(self._uplink, answer.external.port))
        self.handle_timeout(now)

    def upnp_deleted(self, now: float) -> None:
        """Take in that what `UpnpUnmapRequested` asked for has been done, or cannot be."""
        if isinstance(self._state, Releasing) and self._state.protocol is MappingProtocol.UPNP:
            self._enter(End(), now)

    def release(self, now: float) -> None:
        """Delete the mapping; `Released` follows."""
        match self._state:
            case Mapped(protocol=protocol, external=external):
                self._state = Releasing(self._desk, protocol, external, now)
                self.handle_timeout(now)
            case Searching() as searching:
                searching.take_back()
                self._enter(End(), now)
            case Resting():
                self._enter(End(), now)
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
        return MapperReport(self._uplink, state, spoken, refusal=self._desk.refusal)

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
            case Searching() | Mapped() | Releasing() as state:
                self._enter(state.step(now), now)
            case Resting(until=until):
                if now >= until:
                    self._enter(SearchAnew(), now)
            case Ended():
                pass
            case _:
                assert_never(self._state)

    def next_timeout(self) -> float | None:
        return self._state.next_timeout()

    def datagrams_to_send(self) -> list[Datagram]:
        return self._conversation.datagrams_to_send()

    def next_event(self) -> MapperEvent | None:
        return self._desk.next_event()

    # Within -----------------------------------------------------------------------------------

    def _judge(self, protocol: MappingProtocol, meaning: Meaning, now: float) -> None:
        """Draw the consequences of an answer to what was asked."""
        match self._state:
            case Searching() as searching:
                self._enter(searching.judge(protocol, meaning, now), now)
            case Mapped() as mapped:
                self._enter(mapped.judge(protocol, meaning), now)
            case Releasing(protocol=used) if used is protocol and meaning is not None:
                self._enter(End(), now)
            case _:
                pass

    def _enter(self, transition: Transition | None, now: float) -> None:
        match transition:
            case Map():
                self._state = Mapped(self._desk, transition, before=self.external, now=now)
            case Rest(retry_after=retry_after):
                self._state = Resting(self._memory.failed(self._uplink.gateway, retry_after, now))
            case SearchAnew():
                self._state = Searching(self._desk, now)
                self.handle_timeout(now)
            case End():
                self._state = Ended()
                self._desk.tell(Released(self._uplink))
            case None:
                pass
            case _:
                assert_never(transition)

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
        at = max(now + delay, self._hurried_at + MIN_PAUSE)
        if isinstance(self._state, Mapped) and self._state.hurry(at):
            self._hurried_at = at
