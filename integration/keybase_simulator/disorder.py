"""Pushes that go wrong at random, the same way for the same seed (§3)."""

from dataclasses import dataclass, field
from random import Random


@dataclass
class Disorder:
    """What befalls the pushes to each listener by itself.

    Attributes:
        drop, duplicate: shares of the pushes that are lost, and that come twice.
        delay: seconds that a push takes at most; pushes so overtake each other.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    rng: Random = field(default_factory=lambda: Random(0))

    def deliveries(self) -> list[float]:
        """Draw after how many seconds a push arrives: once, twice or not at all."""
        if self.rng.random() < self.drop:
            return []
        copies = 2 if self.rng.random() < self.duplicate else 1
        return [self.rng.uniform(0.0, self.delay) for _ in range(copies)]
