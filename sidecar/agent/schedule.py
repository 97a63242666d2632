"""When to announce: on change, debounced and rate-limited, and at least every half hour."""

from dataclasses import dataclass
from typing import Final

DEBOUNCE: Final = 0.03
"""Seconds that a change waits for others: answers of several STUN servers come together."""

BURST: Final = 4
"""Posts that may follow each other without a pause: start, claim, confirmation, one change."""

REFILL: Final = 15.0
"""Seconds until one more post is allowed; 4 a minute are far below Keybase's limits."""

FIRST_RETRY: Final = 1.0
"""Seconds until a failed post is tried again; doubles up to `LAST_RETRY`."""

LAST_RETRY: Final = 60.0
"""Longest pause between tries while chat is down, seconds."""


@dataclass(slots=True)
class AnnouncementSchedule:
    """Says when a post is due; the owner posts and reports how that went.

    Attributes:
        interval: seconds between posts when nothing changes.
    """

    interval: float
    _due: float | None = None
    _tokens: float = BURST
    _counted: float = 0.0
    _retry: float = FIRST_RETRY

    def changed(self, now: float) -> None:
        """Something that matters is not as it was announced."""
        due = max(now + DEBOUNCE, self._allowed(now))
        if self._due is None or due < self._due:
            self._due = due

    def take(self, now: float) -> bool:
        """Return whether a post is due; the answer yes uses it up."""
        if self._due is None or now < self._due:
            return False
        self._count(now)
        self._tokens -= 1
        self._due = None
        return True

    def posted(self, now: float) -> None:
        """Count a post that succeeded: the next is a refresh, unless something has changed."""
        self._retry = FIRST_RETRY
        if self._due is None:
            self._due = now + self.interval

    def failed(self, now: float, least: float = 0.0) -> None:
        """Count a post that failed: it is tried again, ever more rarely, not before `least`."""
        self._due = now + max(self._retry, least)
        self._retry = min(2 * self._retry, LAST_RETRY)

    def refresh_by(self, time: float) -> None:
        """Say the same again at a time at the latest."""
        if self._due is None or time < self._due:
            self._due = time

    def next_timeout(self) -> float | None:
        """When to call `take` next."""
        return self._due

    def _allowed(self, now: float) -> float:
        self._count(now)
        return now if self._tokens >= 1 else now + (1 - self._tokens) * REFILL

    def _count(self, now: float) -> None:
        self._tokens = min(BURST, self._tokens + (now - self._counted) / REFILL)
        self._counted = now
