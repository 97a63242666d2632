"""When to look at the directory while message follows message."""

import math
from typing import Final

BURST: Final = 0.1
"""Seconds between looks: a thousand hosts that come up together would otherwise cost each of them a
thousand looks at a thousand devices."""


class Bursts:
    """What comes first is looked at, at once; what follows closely, soon and together."""

    def __init__(self) -> None:
        self._calm_from = -math.inf
        self._due: float | None = None

    def heard(self, now: float) -> bool:
        """Note that something has come in; tell whether to look now."""
        if now >= self._calm_from:
            self._calm_from = now + BURST
            return True
        if self._due is None:
            self._due = self._calm_from
        return False

    def handle_timeout(self, now: float) -> bool:
        """Tell whether it is time to look at what has come in meanwhile."""
        return self._due is not None and self._due <= now

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next."""
        return self._due

    def looked(self) -> None:
        """Note that somebody has looked, for whatever reason."""
        self._due = None

    def rest(self, now: float) -> None:
        """Look at nothing that comes in at once for a while: there has just been a look."""
        self._calm_from = now + BURST
