"""When to announce: on change, debounced and rate-limited, and at least every half hour."""

from dataclasses import dataclass, field
from typing import Final

DAY: Final = 86_400.0

DEBOUNCE: Final = 0.03
"""Seconds that a change waits for others: answers of several STUN servers come together."""

BURST: Final = 4
"""Posts that may follow each other without a pause: start, claim, confirmation, one change."""

REFILL: Final = 15.0
"""Seconds until one more post is allowed; 4 a minute are far below Keybase's limits."""

SUSTAINED_BURST: Final = 20
"""Changes that are told at the pace of `REFILL`: a start among 200 others, a bad quarter of an hour
on a train."""

SUSTAINED_REFILL: Final = 300.0
"""Seconds until one more change is told after those: what a thousand members can read for ever.
Meanwhile checks from the new place are answered all the same; only who sleeps hears it late."""

FIRST_RETRY: Final = 1.0
"""Seconds until a failed post is tried again; doubles up to `LAST_RETRY`."""

LAST_RETRY: Final = 60.0
"""Longest pause between tries while chat is down, seconds."""


def most_posts_a_day(interval: float) -> int:
    """Return how many lines one device posts in a day at most, whatever happens to it.

    Args:
        interval: seconds between posts when nothing changes.
    """
    changes = SUSTAINED_BURST + DAY / SUSTAINED_REFILL
    return int(1 + changes + DAY / interval)


@dataclass(slots=True)
class _Bucket:
    """Tokens that come back one by one; what is not gated may leave it in debt."""

    capacity: float
    refill: float
    tokens: float
    counted: float = 0.0

    def allowed(self, now: float) -> float:
        """Return when the next token is there."""
        self._count(now)
        return now if self.tokens >= 1 else now + (1 - self.tokens) * self.refill

    def take(self, now: float, count: float = 1.0) -> None:
        self._count(now)
        self.tokens -= count

    def _count(self, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.counted) / self.refill)
        self.counted = now


@dataclass(slots=True)
class AnnouncementSchedule:
    """Says when a post is due; the owner posts and reports how that went.

    Attributes:
        interval: seconds between posts when nothing changes.
    """

    interval: float
    _due: float | None = None
    _for_change: bool = False
    _taken_for_change: bool = False
    _short: _Bucket = field(default_factory=lambda: _Bucket(BURST, REFILL, BURST))
    _long: _Bucket = field(
        default_factory=lambda: _Bucket(SUSTAINED_BURST, SUSTAINED_REFILL, SUSTAINED_BURST)
    )
    _retry: float = FIRST_RETRY

    def changed(self, now: float) -> None:
        """Something that matters is not as it was announced."""
        due = max(now + DEBOUNCE, self._short.allowed(now), self._long.allowed(now))
        if self._due is None or due < self._due:
            self._due, self._for_change = due, True

    def take(self, now: float) -> bool:
        """Return whether a post is due; the answer yes uses it up."""
        if self._due is None or now < self._due:
            return False
        self._short.take(now)
        self._taken_for_change = self._for_change
        if self._for_change:
            self._long.take(now)
        self._due, self._for_change = None, False
        return True

    def posted(self, now: float) -> None:
        """Count a post that succeeded: the next is a refresh, unless something has changed."""
        self._retry = FIRST_RETRY
        if self._due is None:
            self._due = now + self.interval

    def failed(self, now: float, least: float = 0.0) -> None:
        """Count a post that failed: it is tried again, ever more rarely, not before `least`."""
        if self._taken_for_change:
            self._long.take(now, -1.0)  # nobody has to read it
        self._due, self._for_change = now + max(self._retry, least), self._taken_for_change
        self._retry = min(2 * self._retry, LAST_RETRY)

    def refresh_by(self, time: float, now: float) -> None:
        """Say the same again by a time, if not too much is said anyway: others can cause this."""
        due = max(time, self._short.allowed(now), self._long.allowed(now))
        if self._due is None or due < self._due:
            self._due, self._for_change = due, True

    def next_timeout(self) -> float | None:
        """When to call `take` next."""
        return self._due
