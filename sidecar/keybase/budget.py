"""How often we may ask: chat calls by priority, as Keybase tells what is left of its tank. No I/O.

All devices of a user drink of one tank, and nobody but the server knows how large it is; so we go
by what results say (`gas` of `capacity`, full again in `reset` seconds), and keep the rest for what
matters most. A refusal ends everything until the time that it names.
"""

import math
from enum import Enum
from random import Random
from typing import Final

from .api import Tank

JITTER: Final = 0.1
"""Share by which a wait is prolonged at random, so that a team does not come back as one."""


class Priority(Enum):
    """What a call is for, and the share of the tank that is not for it."""

    URGENT = 0.0
    """What others wait for: our announcements, and the goodbye."""

    ROUTINE = 0.16
    """Reading the channels. Below its share the half of that is spread over the time until the tank
    is full; the rest is for what is urgent."""

    BACKGROUND = 0.5
    """What mends itself if it comes late: negotiation. Below its share it waits."""


class CallBudget:
    """Says how long a call has to wait; is told what came of it.

    Args:
        rng: source of the jitter.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._blocked_until = -math.inf
        self._capacity = 0
        self._gas = 0
        self._full_at = -math.inf
        self._next_routine = -math.inf

    def wait(self, priority: Priority, now: float) -> float:
        """Return for how many seconds a call has to wait; 0 takes a unit of what is left."""
        if now < self._blocked_until:
            return self._blocked_until - now
        pause = self._pause(priority, now)
        if pause <= 0:
            self._gas = max(0, self._gas - 1)
            return 0.0
        return pause

    def note(self, tank: Tank | None, now: float) -> None:
        """Take in what a result has told."""
        if tank is not None:
            self._capacity, self._gas, self._full_at = tank.capacity, tank.gas, now + tank.reset

    def refused(self, reset: float, now: float) -> None:
        """Take in that a call was refused, with `reset` seconds until more are allowed."""
        self._blocked_until = now + reset * (1 + JITTER * self._rng.random())

    def _pause(self, priority: Priority, now: float) -> float:
        left = self._full_at - now
        if left <= 0 or self._gas >= priority.value * self._capacity:
            return 0.0
        match priority:
            case Priority.URGENT:
                return 0.0
            case Priority.ROUTINE:
                spare = self._gas - priority.value / 2 * self._capacity
                if spare < 1:
                    return left
                if now < self._next_routine:
                    return self._next_routine - now
                self._next_routine = now + left / spare
                return 0.0
            case Priority.BACKGROUND:
                return left
