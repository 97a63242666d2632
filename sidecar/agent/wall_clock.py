"""The wall clock: only for what leaves this host, or outlives the process. Waiting is monotonic."""

from datetime import UTC, datetime


def wall() -> float:
    """Return the seconds since the epoch."""
    return datetime.now(UTC).timestamp()
