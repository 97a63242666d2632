"""How long to wait before something that failed is tried again."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow from failure to failure.

    Attributes:
        first: seconds after the first failure.
        factor: from each wait to the next.
        longest: seconds that are never exceeded.
        jitter: part of a wait that is random, so that those who lost a server together do not
            come back together.
    """

    first: float
    factor: float
    longest: float
    jitter: float

    def delay(self, failures: int, rng: Random) -> float:
        """Return the seconds to wait after so many failures in a row, from 1 on."""
        wait = self.longest
        # Not first * factor ** n, which overflows after some weeks without a network.
        if failures <= _GROWTH_LIMIT:
            wait = min(self.longest, self.first * self.factor ** (failures - 1))
        return wait * (1 - self.jitter * rng.random())


_GROWTH_LIMIT = 64
"""Failures after which any sensible wait has long grown to its limit."""
