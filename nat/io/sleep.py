"""Notices that the machine has slept: the clock of its uptime went on, the monotonic one did not.

After a sleep every NAT has forgotten us and the network may be another, but no interface changes
and no timer of ours is late: the loop's clock, CLOCK_MONOTONIC, stood still, too (clock_gettime(2)).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

LOOK_INTERVAL: Final = 1.0
"""Seconds between looks, so that a new path is found within two after waking up."""

SHORTEST: Final = 2.0
"""Seconds of sleep from which on anything may be another; less no NAT forgets, and no peer."""


def slept() -> float:
    """Return the seconds for which the machine has slept since it was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class SleepWatch:
    """Reports every sleep once it is over.

    Args:
        on_wake: gets the seconds that it took.
        read: returns the seconds slept since the machine's start.
    """

    def __init__(
        self, on_wake: Callable[[float], None], *, read: Callable[[], float] = slept
    ) -> None:
        self._on_wake = on_wake
        self._read = read

    async def run(self) -> None:
        """Watch until cancelled."""
        known = self._read()
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            now = self._read()
            if now - known >= SHORTEST:
                self._on_wake(now - known)
            known = now
