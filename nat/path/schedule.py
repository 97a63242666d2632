"""When a candidate pair is checked next. Checking never ends; it only becomes rarer.

Each rule is a function of what is known now, so that a peer that becomes active, silent or lost
changes its rhythm without any timer being moved.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Final

from .pair import ANSWER_RTTS, Pair

HUNT_INTERVALS: Final = (0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.0)
"""Seconds between checks of a pair that does not answer; the last one repeats for ever.

Dense at first, since both sides open their NATs for each other within a round trip of learning
of each other (RFC 8445 §14.3 has 500 ms to protect the network: here a global pacer does). The
last one stays under 30 s with jitter: as long as Linux keeps an unanswered mapping."""

HUNT_JITTER: Final = 0.15
"""Share by which a longer interval varies, so that many peers do not check in step."""

BURST_CHECKS: Final = 6
"""Checks at the head of a hunt that are regular, and not spared for an idle peer."""

SETTLED_SAMPLES: Final = 4
"""Answers after which the round-trip time of a pair is taken for known."""

SETTLE_INTERVAL: Final = 0.1
"""Seconds between checks until then: the best pair is found within a second, not a minute."""

SELECTED_ACTIVE: Final = 0.4
"""Seconds between checks of the selected pair while data flows: a loss shows within a second."""

CROWD: Final = 32
"""Active peers up to which this holds. More share what these cost, about half of what the pacer
lets through, and the data plane's counters have a stalled pair checked at once (`evidence`)."""

SELECTED_IDLE: Final = 60.0
"""Seconds between checks of the selected pair without data; WireGuard keeps the NAT open."""

ALTERNATIVE_ACTIVE: Final = 5.0
"""Seconds between checks of another valid pair while data flows."""

TURN_IDLE: Final = 30.0
"""Seconds between checks of all other pairs of an idle peer, one in turn."""

SILENT_ACTIVE: Final = 5.0
"""Seconds between checks of a selected pair that only data speaks for."""

SILENT_IDLE: Final = 30.0
"""The same without much data."""

PASSIVE_FACTOR: Final = 1.5
"""How much later the controlled side checks than the controlling side, and only if it has not been
checked itself: one exchange keeps the pair for both."""


MOST_RELAYS: Final = 2
"""Relays of a pair that begins at one and ends at another."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How busy a peer is, as far as checks depend on it.

    Attributes:
        connected: a pair is selected.
        active: data flowed in the last minute.
        silent: only data speaks for the selected pair; its checks are not answered.
        drives: whether this side is the controlling one.
        active_peers: how many peers of this port are active.
    """

    connected: bool
    active: bool
    silent: bool
    drives: bool
    active_peers: int = 1

    @property
    def crowding(self) -> float:
        """By how much checks are rarer because many peers are active."""
        return max(1.0, self.active_peers / CROWD)

    @property
    def sparing(self) -> bool:
        """Whether all but the selected pair take turns."""
        return self.connected and not self.active


def next_check(pair: Pair, rhythm: Rhythm) -> float:
    """Return when to check `pair`; infinity: when its turn comes (see `next_turn`)."""
    if pair.asked_at is not None:
        return pair.asked_at
    if pair.checked_at is None:
        return pair.noticed_at
    if not pair.valid:
        spared = rhythm.sparing and pair.attempt > BURST_CHECKS
        return math.inf if spared else pair.checked_at + pair.interval
    if pair.unanswered:
        if pair.selected and rhythm.silent:
            return pair.checked_at + (SILENT_ACTIVE if rhythm.active else SILENT_IDLE)
        if _spare(pair, rhythm):
            return math.inf  # not in a hurry: its next turn says whether it has gone
        return pair.checked_at + pair.answer_time
    if len(pair.samples) < SETTLED_SAMPLES and not _spare(pair, rhythm):
        return pair.checked_at + max(SETTLE_INTERVAL, ANSWER_RTTS * (pair.rtt or 0.0))
    if not pair.selected:
        return pair.checked_at + ALTERNATIVE_ACTIVE * rhythm.crowding if rhythm.active else math.inf
    interval = SELECTED_ACTIVE * rhythm.crowding if rhythm.active else SELECTED_IDLE
    if rhythm.drives or pair.heard_at is None:
        return pair.checked_at + interval
    return max(pair.checked_at, pair.heard_at) + interval * PASSIVE_FACTOR


def _spare(pair: Pair, rhythm: Rhythm) -> bool:
    """Whether how fast a pair is does not matter: a relay that an idle peer does not use."""
    return rhythm.sparing and not pair.selected and pair.relay_hops > 0


def next_turn(last_turn: float, last_heard: float, rhythm: Rhythm) -> float:
    """Return when one of the pairs that take turns is checked.

    Args:
        last_turn: when this side last did so.
        last_heard: when the peer last checked any pair but the selected one.
        rhythm: how busy the peer is.
    """
    if rhythm.drives:
        return last_turn + TURN_IDLE
    return max(last_turn, last_heard) + TURN_IDLE * PASSIVE_FACTOR


def worth_checking(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs that may be of use.

    Two relays in a row help nobody who has a path with fewer, and with two servers on each side
    they would be half of all pairs. What was asked for is checked nevertheless: a loss and a doubt
    ask for everything.
    """
    every = list(pairs)
    if not any(pair.selected and pair.relay_hops < MOST_RELAYS for pair in every):
        return every
    return [p for p in every if p.relay_hops < MOST_RELAYS or p.asked_at is not None]


class Timetable:
    """Which pairs of one peer are due, and whose turn it is.

    Args:
        drives: whether this side is the controlling one.
        now: current time in seconds.
    """

    def __init__(self, *, drives: bool, now: float) -> None:
        self._rhythm = Rhythm(connected=False, active=False, silent=False, drives=drives)
        self._last_turn = now
        self._last_heard = now

    def listen(self, *, connected: bool, active: bool, silent: bool, active_peers: int) -> None:
        """Take in how busy the peer is (see `Rhythm`)."""
        self._rhythm = Rhythm(connected, active, silent, self._rhythm.drives, active_peers)

    def heard(self, pair: Pair, now: float) -> None:
        """Note that the peer has checked a pair."""
        if not pair.selected:
            self._last_heard = now

    def take_due(self, pairs: Iterable[Pair], now: float) -> list[Pair]:
        """Return the pairs to be checked now, best first."""
        due, waiting = [], []
        for pair in worth_checking(pairs):
            at = next_check(pair, self._rhythm)
            if at <= now:
                due.append(pair)
            elif at == math.inf:
                waiting.append(pair)
        if not waiting:
            self._last_turn = now
        elif now >= next_turn(self._last_turn, self._last_heard, self._rhythm):
            self._last_turn = now
            due.append(min(waiting, key=lambda pair: pair.checked_at or 0.0))
        return sorted(due, key=lambda pair: -pair.priority)

    def next_timeout(self, pairs: Iterable[Pair]) -> float:
        """Return when `take_due` may next return a pair; infinity: there is none."""
        times = [next_check(pair, self._rhythm) for pair in worth_checking(pairs)]
        if math.inf in times:
            times.append(next_turn(self._last_turn, self._last_heard, self._rhythm))
        return min(times, default=math.inf)


def hunt_interval(attempt: int, rng: Random) -> float:
    """Return the seconds to wait after check number `attempt` (from 0) of a hunt."""
    interval = HUNT_INTERVALS[min(attempt, len(HUNT_INTERVALS) - 1)]
    if attempt < BURST_CHECKS:
        return interval
    return interval * (1 + HUNT_JITTER * (2 * rng.random() - 1))
