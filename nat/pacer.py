"""One pace for everything that a port sends (RFC 8445 §14.1), and a cap for each stranger.

RFC 8445 paces each agent by Ta. Here one pacer serves all peers, because all of them share one
uplink: what keeps paths alive goes first, hunting gets the rest, and nothing waits behind itself.
"""

import math
from collections import deque
from enum import IntEnum
from typing import Final

from .machine import Datagram, Endpoint, IPAddress

RATE: Final = 200.0
"""Datagrams per second: RFC 8445 §14.2 allows one each 5 ms over all agents of a host."""

BURST: Final = 120.0
"""Datagrams that may leave at once: the first checks of twenty peers with six candidates each, in
no more bytes than a TCP connection begins with (ten segments, RFC 6928)."""

MAX_DEBT: Final = 20.0
"""Datagrams by which answers, which do not wait, may put off all else."""

ANSWER_RATE: Final = RATE / 2
"""Datagrams per second by which answers may put off all else for long, and which one peer gets. Who
checks faster, be it to have somebody else's address answered, is answered less, and keeps nobody
from being checked."""

ANSWER_BURST: Final = 256.0
"""Answers that one peer may get at once: the openers of port prediction, should all get through."""

MAX_KNOWN: Final = 1024
"""Addresses that are remembered to have answered; the one that was first longest ago goes."""

STRANGER_RATE: Final = 5.0
"""Datagrams per second to all ports of an address that never answered, whoever named it: a member
could name anybody's."""

STRANGER_BURST: Final = 60.0
"""Of these, at once: the dense head of a hunt (6 checks) over ten pairs with one address."""

MAX_STRANGERS: Final = 1024
"""Addresses whose cap is remembered; a refilled one need not be."""


class Urgency(IntEnum):
    """Which datagram goes first."""

    ANSWER = 0
    """Responses: never delayed, since the peer measures time; they count for the pace."""

    NOMINATE = 1
    """First checks that say which pair carries the data: the peer waits for them, as for answers."""

    KEEP = 2
    """Checks of pairs that work or that the peer has just checked."""

    FIRST = 3
    """First checks of pairs: they open our NAT, and each of them may be the one that is needed."""

    HUNT = 4
    """Further checks of pairs that do not answer."""


_Place = tuple[str, Endpoint, Endpoint, bool]
"""Owner, source and destination of what waits, and whether it is to arrive in one piece: a probe of
the path's width and an ordinary check do not replace each other."""


class Pacer:
    """Releases datagrams at `RATE`; part of a machine.

    A check that waits is replaced by a newer one of the same pair, so that a queue never holds
    more than the pairs there are.
    """

    def __init__(self, *, now: float) -> None:
        self.capped = 0
        """Checks dropped because their address never answered and was asked often enough."""
        self.unanswered = 0
        """Answers dropped because their peer checks more often than anybody needs to."""
        self._tokens = BURST
        self._filled_at = now
        self._prompt: deque[tuple[str, Datagram]] = deque()
        self._answers = _Bucket(now, rate=ANSWER_RATE, burst=BURST)
        self._answered: dict[str, _Bucket] = {}
        self._waiting: dict[Urgency, dict[_Place, Datagram]] = {
            urgency: {} for urgency in (Urgency.KEEP, Urgency.FIRST, Urgency.HUNT)
        }
        self._strangers: dict[IPAddress, _Bucket] = {}
        self._known: dict[IPAddress, None] = {}

    def submit(self, datagram: Datagram, urgency: Urgency, owner: str = "") -> None:
        """Queue a datagram of an owner; only the owner's own newer one takes its place."""
        if urgency in (Urgency.ANSWER, Urgency.NOMINATE):
            self._prompt.append((owner if urgency is Urgency.ANSWER else "", datagram))
            return
        place = (owner, datagram.source, datagram.destination, datagram.dont_fragment)
        for other, queue in self._waiting.items():
            if other < urgency and place in queue:
                urgency = other
            elif other > urgency:
                queue.pop(place, None)
        self._waiting[urgency][place] = datagram

    def forget(self, owner: str) -> None:
        """Drop what an owner has queued."""
        self._answered.pop(owner, None)
        for queue in self._waiting.values():
            for place in [place for place in queue if place[0] == owner]:
                del queue[place]

    def know(self, ip: IPAddress) -> None:
        """Note that an address has answered: it belongs to a peer, and is not capped any more."""
        if ip not in self._known:
            self._known[ip] = None
            self._strangers.pop(ip, None)
            if len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]

    def release(self, now: float) -> list[Datagram]:
        """Take what may leave now."""
        self._fill(now)
        released = [datagram for owner, datagram in self._prompt if self._answers_to(owner, now)]
        self._prompt.clear()
        charged = sum(self._answers.take(now) for _ in released)
        self._tokens = max(self._tokens - charged, -MAX_DEBT)
        for queue in self._waiting.values():
            while queue and self._tokens >= 1.0:
                datagram = queue.pop(next(iter(queue)))
                if not self._allows(datagram.destination.ip, now):
                    self.capped += 1
                    continue
                self._tokens -= 1.0
                released.append(datagram)
        return released

    def next_timeout(self) -> float:
        """When to call `release` next; infinity: nothing waits."""
        if not any(self._waiting.values()):
            return math.inf
        return self._filled_at + max(0.0, 1.0 - self._tokens) / RATE + ROUNDING

    def _fill(self, now: float) -> None:
        self._tokens = min(BURST, self._tokens + RATE * (now - self._filled_at))
        self._filled_at = now

    def _answers_to(self, owner: str, now: float) -> bool:
        """Whether an owner's peer may get another answer; what nobody asked for is no answer."""
        if owner and not self._answered.setdefault(
            owner, _Bucket(now, rate=ANSWER_RATE, burst=ANSWER_BURST)
        ).take(now):
            self.unanswered += 1
            return False
        return True

    def _allows(self, ip: IPAddress, now: float) -> bool:
        if ip in self._known:
            return True
        if ip not in self._strangers and len(self._strangers) >= MAX_STRANGERS:
            self._strangers = {k: b for k, b in self._strangers.items() if not b.full(now)}
        stranger = _Bucket(now, rate=STRANGER_RATE, burst=STRANGER_BURST)
        return self._strangers.setdefault(ip, stranger).take(now)


ROUNDING: Final = 1e-6
"""Seconds that make up for what binary fractions lose, so that a timer never fires for nothing."""


class _Bucket:
    """What may still be sent to somebody."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, now: float, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._at = now

    def full(self, now: float) -> bool:
        return self._level(now) >= self._burst

    def take(self, now: float) -> bool:
        self._tokens, self._at = self._level(now), now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _level(self, now: float) -> float:
        return min(self._burst, self._tokens + self._rate * (now - self._at))
