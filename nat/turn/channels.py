"""Channels of one allocation (RFC 8656 §12): numbers, bindings, and when both may be used again."""

import math
from dataclasses import dataclass
from typing import Final

from ..machine import Endpoint
from .framing import FIRST_CHANNEL, LAST_CHANNEL
from .requests import Bind

LIFETIME: Final = 600.0
"""Seconds that a binding lasts (RFC 8656 §12)."""

REBIND_AFTER: Final = 200.0
"""Seconds after which it is made again: its permission, which it renews, lasts only 300."""

QUARANTINE: Final = 300.0
"""Seconds after a binding's end in which neither its number nor its peer may be bound otherwise
(RFC 8656 §12)."""

REFUSED_FOR: Final = 300.0
"""Seconds until a refused binding is tried again."""

RENUMBER_AFTER: Final = 5.0
"""Seconds until a binding that the server called a bad request is tried with another number."""


@dataclass(slots=True)
class _Channel:
    """One binding.

    Attributes:
        number: its channel number.
        ask_at: when to bind it (again).
        asking: whether a request is in flight.
        bound_until: when the server forgets it; `-inf`: it was never bound.
    """

    number: int
    ask_at: float
    asking: bool = False
    bound_until: float = -math.inf


class Channels:
    """Which peers have a channel, by their transport address."""

    def __init__(self) -> None:
        self._wanted: dict[Endpoint, _Channel] = {}
        self._parked: dict[Endpoint, _Channel] = {}
        self._spoiled: dict[int, float] = {}
        self._next = FIRST_CHANNEL

    def __contains__(self, remote: Endpoint) -> bool:
        return remote in self._wanted

    def want(self, remote: Endpoint, now: float) -> None:
        """Ask for a channel, unless it was asked for already."""
        if remote in self._wanted:
            return
        parked = self._parked.pop(remote, None)
        if parked is not None and now < parked.bound_until + QUARANTINE:
            # The server may still know it by this number, and would refuse any other.
            self._wanted[remote] = _Channel(parked.number, now)
            return
        number = self._free_number(now)
        if number is not None:
            self._wanted[remote] = _Channel(number, now)

    def release(self, remote: Endpoint, now: float) -> None:
        """Let a binding lapse. There is no way to end it (RFC 8656 §12)."""
        channel = self._wanted.pop(remote, None)
        if channel is None:
            return
        if channel.asking:
            channel.bound_until = now + LIFETIME
        if channel.bound_until > -math.inf:
            self._parked[remote] = channel

    def reset(self, now: float) -> None:
        """Begin anew with what is wanted: there is another allocation, which has no channels."""
        wanted = list(self._wanted)
        self._wanted, self._parked, self._spoiled = {}, {}, {}
        for remote in wanted:
            self.want(remote, now)

    def renew(self, now: float) -> None:
        """Bind everything again that was bound: time may have passed that we know nothing of."""
        for channel in self._wanted.values():
            if channel.bound_until > -math.inf:
                channel.ask_at = min(channel.ask_at, now)

    def number(self, remote: Endpoint, now: float) -> int | None:
        """Return the number of a bound channel."""
        channel = self._wanted.get(remote)
        return channel.number if channel is not None and now < channel.bound_until else None

    def remote(self, number: int) -> Endpoint | None:
        """Return whose a number is, also if the channel is not wanted any more."""
        for table in (self._wanted, self._parked):
            for remote, channel in table.items():
                if channel.number == number:
                    return remote
        return None

    def bound(self, now: float) -> list[Endpoint]:
        """Return the peers that have a channel."""
        return [remote for remote in self._wanted if self.number(remote, now) is not None]

    def take_due(self, now: float) -> list[Bind]:
        """Return the requests that are due; they count as made."""
        due = [(r, c) for r, c in self._wanted.items() if not c.asking and now >= c.ask_at]
        for _, channel in due:
            channel.asking = True
        return [Bind(remote, channel.number) for remote, channel in due]

    def succeeded(self, request: Bind, now: float) -> bool:
        """Note that the server has bound it; whether it was not bound before."""
        channel = self._wanted.get(request.remote)
        if channel is None or channel.number != request.channel:
            return False
        fresh = now >= channel.bound_until
        channel.asking = False
        channel.bound_until = now + LIFETIME
        channel.ask_at = now + REBIND_AFTER
        return fresh

    def refused(self, request: Bind, now: float, retry_after: float = REFUSED_FOR) -> bool:
        """Note that the server does not bind it; whether it was bound before."""
        channel = self._wanted.get(request.remote)
        if channel is None or channel.number != request.channel:
            return False
        was_bound = now < channel.bound_until
        channel.asking = False
        channel.bound_until = -math.inf
        channel.ask_at = now + retry_after
        return was_bound

    def renumber(self, request: Bind, now: float) -> bool:
        """Note that a number does not fit the peer in the server's eyes; whether it was bound."""
        was_bound = self.refused(request, now, RENUMBER_AFTER)
        channel = self._wanted.get(request.remote)
        if channel is not None and channel.number == request.channel:
            self._spoiled[channel.number] = now + LIFETIME + QUARANTINE
            channel.number = self._free_number(now) or channel.number
        return was_bound

    def next_timeout(self) -> float:
        """When to call `take_due` next; infinity: nothing will be due as things are."""
        times = (c.ask_at for c in self._wanted.values() if not c.asking)
        return min(times, default=math.inf)

    def _free_number(self, now: float) -> int | None:
        self._parked = {
            remote: channel
            for remote, channel in self._parked.items()
            if now < channel.bound_until + QUARANTINE
        }
        self._spoiled = {number: end for number, end in self._spoiled.items() if now < end}
        taken = {channel.number for channel in self._wanted.values()}
        taken |= {channel.number for channel in self._parked.values()} | set(self._spoiled)
        count = LAST_CHANNEL - FIRST_CHANNEL + 1
        for step in range(count):
            number = FIRST_CHANNEL + (self._next - FIRST_CHANNEL + step) % count
            if number not in taken:
                self._next = number + 1
                return number
        return None
