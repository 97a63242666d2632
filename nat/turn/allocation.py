"""One allocation at one TURN server (RFC 8656 §7, §8), over any transport.

The owner has the connection: it says when it stands, hands over the frames that come in, and sends
those that go out. What is wanted of the allocation (itself, permissions, channels) is said once
and holds over every loss: a server that comes back is asked for all of it again.
"""

import math
from collections import Counter, deque
from random import Random
from typing import Final, assert_never

from ..candidate import is_reachable_address
from ..errors import StunError
from ..machine import Endpoint, IPAddress
from ..stun.wire import MessageClass
from . import states
from .doubt import Doubt
from .events import (
    Allocated,
    AllocationEvent,
    AllocationLost,
    AllocationRefused,
    ChannelBound,
    ChannelLost,
    ConnectionStale,
    Measured,
    Redirected,
    Relayed,
    Trouble,
)
from .exchanges import Exchanges, Outcome, Refused, Succeeded, TimedOut
from .forwarding import Forwarding
from .framing import is_channel_data, parse_channel_data
from .message import TurnError, TurnMessage, parse
from .refusals import FATAL, redirection, retry_after, trouble
from .requests import Allocate, Bind, Families, Measure, Permit, Refresh, Release
from .server import TurnServer

KEEPALIVE: Final = (20.0, 26.0)
"""Seconds between Binding requests, drawn anew each time: they keep the NAT's mapping (the reasons
stand in `nat.stun.binding`), measure the server and notice its death."""

REFRESH_RETRY: Final = 15.0
"""Seconds until a refresh that the server could not serve is tried again."""

FIRST_RETRY: Final = 2.0
"""Seconds until a server that does not answer is connected to anew; doubles each time."""

LAST_RETRY: Final = 30.0
"""Longest such pause, seconds: nothing is retried slower while it is of use."""


class Allocation:
    """The client of one TURN server.

    Args:
        server: where it is, and which credentials it takes.
        rng: source of transaction ids and jitter; cryptographic in production (RFC 8489 §5).
        dropped: counts frames that came in or were to go out and were dropped, by reason.
    """

    def __init__(self, server: TurnServer, *, rng: Random, dropped: Counter[str]) -> None:
        self.server = server
        self._rng = rng
        self._wanted = False
        self._families = Families.BOTH
        self._state: states.State = states.Offline()
        self._dropped = dropped
        self._exchanges = self._new_exchanges()
        self._forwarding = Forwarding(reliable=server.transport.reliable, rng=rng, dropped=dropped)
        self._measure_at = math.inf
        self._doubt = Doubt()
        self._failures = 0
        self._events: deque[AllocationEvent] = deque()

    # What the owner says ----------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """Begin on a connection that has just been made, and that the server has not seen yet."""
        self._exchanges = self._new_exchanges()
        self._state = states.Idle()
        self._measure(now)
        self._step(now)

    def disconnected(self, now: float) -> None:
        """Give up the connection; `connected` follows when there is another."""
        self._lose(Trouble.DISCONNECTED, now)
        self._exchanges = self._new_exchanges()
        self._measure_at = math.inf
        self._doubt.end()
        self._state = states.Offline()

    def want(self, wanted: bool, now: float) -> None:
        """Say whether an allocation is wanted; one that is there and is not wanted is released."""
        self._wanted = wanted
        if not wanted and isinstance(self._state, states.Allocated):
            self._exchanges.begin(Release(), now)
            self._lose(Trouble.RELEASED, now)
        self._step(now)

    def permit(self, ip: IPAddress, now: float) -> None:
        """Let an address through, for as long as it is not forbidden again."""
        self._forwarding.permit(ip, now)
        self._step(now)

    def forbid(self, ip: IPAddress) -> None:
        """Let the permission of an address lapse."""
        self._forwarding.forbid(ip)

    def bind(self, remote: Endpoint, now: float) -> None:
        """Give a peer a channel, for as long as it is not unbound again."""
        self._forwarding.bind(remote, now)
        self._step(now)

    def unbind(self, remote: Endpoint, now: float) -> None:
        """Let the channel of a peer lapse."""
        relayed = self._relayed_for(remote)
        if relayed is not None and self._forwarding.channel(remote, now) is not None:
            self._events.append(ChannelLost(relayed, remote))
        self._forwarding.unbind(remote, now)

    def send(self, remote: Endpoint, payload: bytes, now: float) -> None:
        """Have something relayed: at once, or as soon as the address is permitted."""
        if self._relayed_for(remote) is None:
            self._dropped["no allocation of this family"] += 1
        else:
            self._forwarding.send(remote, payload, now)

    def probe(self, now: float) -> None:
        """See at once whether the server still knows us: the network may be another.

        Only a request about the allocation tells that. To the server another mapping of our NAT is
        another client; a Binding request is answered all the same. And what it has granted may have
        ended while this machine slept, for our clock stood still.
        """
        match self._state:
            case states.Allocated() as allocated:
                if not self._exchanges.asking(Refresh):
                    allocated.refresh_at = math.inf
                    self._exchanges.begin(Refresh(), now)
                self._forwarding.renew(now)
                for request in self._forwarding.take_due(now):
                    self._exchanges.begin(request, now)
            case states.Idle() | states.Allocating():
                self._measure(now)
            case states.Offline() | states.Resting():
                return
            case _:
                assert_never(self._state)
        self._doubt.begin(self.rtt, now)

    def suspect(self, now: float) -> None:
        """Probe, soon if that was done just now: a path by the relay has fallen silent."""
        if not self._doubt.put_off(now):
            self.probe(now)

    # What it knows ----------------------------------------------------------------------------

    @property
    def rtt(self) -> float | None:
        """Round-trip time to the server in seconds; `None`: not measured on this connection."""
        return self._exchanges.rtt

    @property
    def relayed(self) -> tuple[Endpoint, ...]:
        """Our relayed transport addresses, one a family; empty: there is no allocation."""
        return self._state.relayed if isinstance(self._state, states.Allocated) else ()

    # Machine ----------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        """Handle one frame: a STUN message or ChannelData. Never raises on what a server sent."""
        if isinstance(self._state, states.Offline):
            return
        try:
            if is_channel_data(frame):
                self._deliver(self._forwarding.unpack_channel(parse_channel_data(frame)))
            else:
                self._on_message(parse(frame), now)
        except StunError:
            self._dropped["malformed"] += 1
        self._step(now)

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due at `now`. Calling early or twice is harmless."""
        for failed in self._exchanges.handle_timeout(now):
            self._settle(failed, now)
        if self._doubt.is_over(now):
            self._give_up(0.0, now)
        if self._doubt.take_due(now):
            self.probe(now)
        self._step(now)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next; `None`: nothing is pending."""
        times = [self._exchanges.next_timeout(), self._measure_at, self._doubt.next_timeout()]
        match self._state:
            case states.Allocated(refresh_at=refresh_at, expires_at=expires_at):
                times += [refresh_at, expires_at, self._forwarding.next_timeout()]
            case states.Resting(until=until):
                times.append(until)
            case states.Offline() | states.Idle() | states.Allocating():
                pass
        soonest = min(times)
        return None if soonest == math.inf else soonest

    def frames_to_send(self) -> list[bytes]:
        """Take the frames queued since the last call, in their order."""
        return self._exchanges.frames_to_send() + self._forwarding.frames_to_send()

    def next_event(self) -> AllocationEvent | None:
        """Take the oldest event that the owner has not seen; `None`: no more."""
        return self._events.popleft() if self._events else None

    # Inside: what is due ----------------------------------------------------------------------

    def _step(self, now: float) -> None:
        if now >= self._measure_at:
            self._measure(now)
        match self._state:
            case states.Idle() if self._wanted:
                self._state = states.Allocating()
                self._exchanges.begin(Allocate(self._families), now)
            case states.Resting(until=until, reconnect=True) if now >= until:
                self._state = states.Resting(math.inf, reconnect=True)
                self._events.append(ConnectionStale())
            case states.Resting(until=until) if now >= until:
                self._state = states.Idle()
                self._step(now)
            case states.Allocated(expires_at=expires_at) if now >= expires_at:
                self._lose(Trouble.FORGOTTEN, now)
                self._step(now)
            case states.Allocated() as allocated:
                if now >= allocated.refresh_at:
                    allocated.refresh_at = math.inf
                    self._exchanges.begin(Refresh(), now)
                for request in self._forwarding.take_due(now):
                    self._exchanges.begin(request, now)
            case states.Offline() | states.Idle() | states.Allocating() | states.Resting():
                pass
            case _:
                assert_never(self._state)

    def _measure(self, now: float) -> None:
        if not self._exchanges.asking(Measure):
            self._exchanges.begin(Measure(), now)
        self._measure_at = now + self._rng.uniform(*KEEPALIVE)

    # Inside: what comes in --------------------------------------------------------------------

    def _on_message(self, message: TurnMessage, now: float) -> None:
        match message.message_class:
            case MessageClass.INDICATION:
                self._deliver(self._forwarding.unpack_indication(message))
            case MessageClass.SUCCESS | MessageClass.ERROR:
                known = self.rtt is not None
                outcome = self._exchanges.receive(message, now)
                if outcome is not None:
                    self._doubt.end()
                if self.rtt is not None and not known:
                    self._events.append(Measured(self.rtt))
                if outcome is not None:
                    self._settle(outcome, now)
            case MessageClass.REQUEST:
                self._dropped["request of a server"] += 1

    def _deliver(self, unpacked: tuple[Endpoint, bytes] | None) -> None:
        if unpacked is not None and (relayed := self._relayed_for(unpacked[0])) is not None:
            remote, payload = unpacked
            self._events.append(Relayed(remote, relayed, payload))

    def _settle(self, outcome: Outcome, now: float) -> None:
        if isinstance(outcome.request, Release):
            return  # nothing hangs on it
        if isinstance(outcome, TimedOut):
            self._on_timed_out(now)
            return
        match outcome.request:
            case Measure() | Release():
                pass  # any answer tells what was asked for
            case Allocate():
                if isinstance(outcome, Refused):
                    self._on_refused(outcome.code, outcome.message, now)
                else:
                    self._on_allocated(outcome.message, now)
            case Refresh() | Permit() | Bind() as request:
                if not isinstance(self._state, states.Allocated):
                    pass  # of an allocation that is gone
                elif isinstance(outcome, Refused) and outcome.code in FATAL:
                    self._on_forgotten(outcome.code, now)
                elif isinstance(request, Refresh):
                    self._on_refreshed(self._state, outcome, now)
                else:
                    self._on_peer_request(request, outcome, now)
            case _:
                assert_never(outcome.request)

    def _on_allocated(self, message: TurnMessage, now: float) -> None:
        relayed = {e.ip.version: e for e in message.relayed if is_reachable_address(e.ip)}
        if not relayed or not states.lasts(message.lifetime):
            self._on_refused(TurnError.SERVER_ERROR, message, now)
            return
        self._failures = 0
        self._forwarding.reset(now)
        self._state = states.Allocated(tuple(relayed.values()), now, now)
        self._state.prolong(message.lifetime, now)
        self._events.append(Allocated(self.relayed, message.mapped))
        self.want(self._wanted, now)

    def _on_refreshed(
        self, allocated: states.Allocated, outcome: Succeeded | Refused, now: float
    ) -> None:
        if isinstance(outcome, Succeeded) and states.lasts(outcome.message.lifetime):
            allocated.prolong(outcome.message.lifetime, now)
        else:
            allocated.refresh_at = now + REFRESH_RETRY

    def _on_peer_request(
        self, request: Permit | Bind, outcome: Succeeded | Refused, now: float
    ) -> None:
        if isinstance(outcome, Refused):
            lost = self._forwarding.refused(request, outcome.code, now)
            if lost is not None and (relayed := self._relayed_for(lost)) is not None:
                self._events.append(ChannelLost(relayed, lost))
            return
        bound = self._forwarding.succeeded(request, now)
        if bound is not None and (relayed := self._relayed_for(bound.remote)) is not None:
            self._events.append(ChannelBound(relayed, bound.remote, bound.channel))

    def _on_refused(self, code: int, message: TurnMessage, now: float) -> None:
        """Handle what a server says to an Allocate request (RFC 8656 §7.4)."""
        if code == TurnError.FAMILY_NOT_SUPPORTED and self._families is Families.BOTH:
            self._retry_with(Families.IPV6)
        elif code == TurnError.UNKNOWN_ATTRIBUTE and self._families is not Families.DEFAULT:
            self._retry_with(Families.DEFAULT)
        elif (elsewhere := redirection(self.server, code, message)) is not None:
            self._rest(retry_after(code), now, reconnect=False)
            self._events.append(Redirected(elsewhere))
        elif code == TurnError.ALLOCATION_MISMATCH:
            # Another allocation lives on this 5-tuple, perhaps our own of before a restart.
            self._rest(self._backoff(), now, reconnect=True)
        else:
            self._families = Families.BOTH
            credentials = code in (TurnError.UNAUTHENTICATED, TurnError.WRONG_CREDENTIALS)
            self._rest(retry_after(code), now, reconnect=credentials)
            self._events.append(AllocationRefused(trouble(code)))

    def _on_forgotten(self, code: int, now: float) -> None:
        """Handle a server that does not know the allocation, or not as ours."""
        self._lose(trouble(code), now)
        if code != TurnError.ALLOCATION_MISMATCH:
            self._rest(self._backoff(), now, reconnect=True)

    def _on_timed_out(self, now: float) -> None:
        self._give_up(self._backoff(), now)

    def _give_up(self, pause: float, now: float) -> None:
        """Take the connection for dead; another one is asked for after a pause."""
        self._lose(Trouble.UNREACHABLE, now)
        self._events.append(AllocationRefused(Trouble.UNREACHABLE))
        self._exchanges = self._new_exchanges()
        self._measure_at = math.inf
        self._doubt.end()
        self._rest(pause, now, reconnect=True)

    # Inside: changes of state -----------------------------------------------------------------

    def _retry_with(self, families: Families) -> None:
        self._families = families
        self._state = states.Idle()

    def _rest(self, seconds: float, now: float, *, reconnect: bool) -> None:
        self._state = states.Resting(now + seconds, reconnect)

    def _backoff(self) -> float:
        pause = min(FIRST_RETRY * 2.0**self._failures, LAST_RETRY)
        self._failures = min(self._failures + 1, 10)
        return pause

    def _lose(self, reason: Trouble, now: float) -> None:
        if not isinstance(self._state, states.Allocated):
            return
        for remote in self._forwarding.reset(now):
            relayed = self._relayed_for(remote)
            assert relayed is not None
            self._events.append(ChannelLost(relayed, remote))
        self._state = states.Idle()
        self._events.append(AllocationLost(reason))

    def _relayed_for(self, remote: Endpoint) -> Endpoint | None:
        version = remote.ip.version
        return next((relayed for relayed in self.relayed if relayed.ip.version == version), None)

    def _new_exchanges(self) -> Exchanges:
        return Exchanges(
            reliable=self.server.transport.reliable,
            credentials=self.server.credentials,
            rng=self._rng,
            dropped=self._dropped,
        )
