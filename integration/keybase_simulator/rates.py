"""The tank that every chat call takes a unit of, one a user (§1.4). No I/O.

How large the real one is only the server knows; the CLI shows what is left in every result.
"""

import math
from dataclasses import dataclass

CAPACITY = 900
WINDOW_SECONDS = 900
"""What is said of the real tank; nobody has verified it."""

REFUSAL = "You are being rate limited. Please try again later."


@dataclass
class Tank:
    """Calls that a user's devices have left.

    Attributes:
        capacity: calls a window.
        window: seconds until the tank is full again.
        strict: whether an empty tank refuses; otherwise it only shows itself.
    """

    capacity: int = CAPACITY
    window: float = WINDOW_SECONDS
    strict: bool = False
    _gas: int = CAPACITY
    _full_at: float | None = None

    def limit(self, capacity: int, window: float) -> None:
        """Refuse more than `capacity` calls a window from now on; the first one begins now."""
        self.capacity, self.window, self.strict = capacity, window, True
        self._gas, self._full_at = capacity, None

    def unlimit(self) -> None:
        """Be the usual tank again."""
        self.capacity, self.window, self.strict = CAPACITY, WINDOW_SECONDS, False
        self._gas, self._full_at = CAPACITY, None

    def take(self, now: float) -> bool:
        """Take a unit; tell whether there was one."""
        if self._full_at is None or now >= self._full_at:
            self._gas, self._full_at = self.capacity, now + self.window
        if self._gas == 0 and self.strict:
            return False
        self._gas = max(0, self._gas - 1)
        return True

    def shown(self, now: float) -> dict[str, object]:
        """Return the entry of a result's `ratelimits`."""
        return {
            "tank": "chat",
            "capacity": self.capacity,
            "reset": self._reset(now),
            "gas": self._gas,
        }

    def refusal(self, now: float) -> dict[str, object]:
        """Return what an empty tank says, for the error of the CLI."""
        return {"text": REFUSAL, "reset": self._reset(now), "capacity": self.capacity}

    def _reset(self, now: float) -> int:
        until = now + self.window if self._full_at is None else self._full_at
        return max(0, math.ceil(until - now))
