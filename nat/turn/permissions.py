"""Permissions of one allocation (RFC 8656 §9): asked for, kept alive, remembered as refused."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..machine import IPAddress
from .requests import Permit

LIFETIME: Final = 300.0
"""Seconds that a permission lasts (RFC 8656 §9)."""

REFRESH_AFTER: Final = 200.0
"""Seconds after which it is asked for again: a whole failed transaction fits before its end."""

REFUSED_FOR: Final = 300.0
"""Seconds until a refused address is tried again: servers' lists of peers do get changed."""

BATCH: Final = 16
"""Addresses that are refreshed by one request. A refusal is for all of them, so new addresses go
one by one, and those of a refused batch, too."""


@dataclass(slots=True)
class _Permission:
    """One address.

    Attributes:
        ask_at: when to ask for it (again).
        asking: whether a request is in flight.
        granted_until: when the server forgets it.
        alone: whether it has to be asked for by itself.
    """

    ask_at: float
    asking: bool = False
    granted_until: float = -math.inf
    alone: bool = True


class Permissions:
    """Which addresses may send to us through the server, and we to them."""

    def __init__(self) -> None:
        self._wanted: dict[IPAddress, _Permission] = {}

    def __contains__(self, ip: IPAddress) -> bool:
        return ip in self._wanted

    def __iter__(self) -> Iterator[IPAddress]:
        return iter(self._wanted)

    def want(self, ip: IPAddress, now: float) -> None:
        """Ask for an address, unless it was asked for already."""
        self._wanted.setdefault(ip, _Permission(ask_at=now))

    def release(self, ip: IPAddress) -> None:
        """Let a permission lapse."""
        self._wanted.pop(ip, None)

    def reset(self, now: float) -> None:
        """Ask for everything anew: there is another allocation."""
        self._wanted = {ip: _Permission(ask_at=now) for ip in self._wanted}

    def renew(self, now: float) -> None:
        """Ask for everything again that was granted: time may have passed that we know nothing of."""
        for permission in self._wanted.values():
            if permission.granted_until > -math.inf:
                permission.ask_at = min(permission.ask_at, now)

    def allows(self, ip: IPAddress, now: float) -> bool:
        """Whether the server lets through what goes to an address."""
        permission = self._wanted.get(ip)
        return permission is not None and now < permission.granted_until

    def take_due(self, now: float) -> list[Permit]:
        """Return the requests that are due; they count as made."""
        due = {
            ip: permission
            for ip, permission in self._wanted.items()
            if not permission.asking and now >= permission.ask_at
        }
        for permission in due.values():
            permission.asking = True
        together = [ip for ip, permission in due.items() if not permission.alone]
        batches = [together[i : i + BATCH] for i in range(0, len(together), BATCH)]
        batches += [[ip] for ip, permission in due.items() if permission.alone]
        return [Permit(tuple(batch)) for batch in batches]

    def granted(self, ips: tuple[IPAddress, ...], now: float) -> None:
        """Note that the server agreed; a channel's binding is such an agreement, too."""
        for ip in ips:
            if (permission := self._wanted.get(ip)) is not None:
                permission.asking = False
                permission.alone = False
                permission.granted_until = now + LIFETIME
                permission.ask_at = now + REFRESH_AFTER

    def refused(self, request: Permit, now: float, retry_after: float = REFUSED_FOR) -> None:
        """Note that the server did not agree: to one address, or to one of several."""
        one = len(request.ips) == 1
        for ip in request.ips:
            if (permission := self._wanted.get(ip)) is not None:
                permission.asking = False
                permission.alone = True
                permission.ask_at = now + retry_after if one else now

    def next_timeout(self) -> float:
        """When to call `take_due` next; infinity: nothing will be due as things are."""
        times = (p.ask_at for p in self._wanted.values() if not p.asking)
        return min(times, default=math.inf)
