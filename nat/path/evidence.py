"""What the data plane's counters prove about a path (design D5): stronger than any probe."""

from typing import Final

from ..machine import Endpoint
from .events import DataReport

ACTIVE_BYTES: Final = 400
"""Bytes above which a peer counts as active. Keepalives (32 bytes each 25 s) and a rekey every
two minutes (at most 180 bytes) never reach it at the rate at which it drains."""

DRAIN_RATE: Final = 10.0
"""Bytes per second that the activity level loses; 600 above the threshold last a minute."""

MAX_LEVEL: Final = ACTIVE_BYTES + 60 * DRAIN_RATE
"""Highest activity level: active for one minute after the last traffic."""

KEEPALIVES: Final = 96
"""Bytes that may leave without an answer: three empty packets, which nobody acknowledges."""

UNANSWERED_AFTER: Final = 15.0
"""Seconds: WireGuard's keepalive timeout (10) and rekey timeout (5) after data was sent."""


class DataEvidence:
    """Counters of one peer over time."""

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        """Where the data plane sends to, as of the last report."""
        self._received: int | None = None
        self._sent = 0
        self._level = 0.0
        self._level_at = 0.0
        self._last_received: float | None = None
        self._unanswered_bytes = 0
        self._unanswered_since: float | None = None

    def report(self, report: DataReport, now: float) -> None:
        """Take in a report."""
        self.endpoint = report.endpoint
        if self._received is None or report.received_bytes < self._received:
            # First look, or a new session: nothing to compare with.
            self._received, self._sent = report.received_bytes, report.sent_bytes
            self._unanswered_bytes, self._unanswered_since = 0, None
            return
        received = report.received_bytes - self._received
        sent = max(0, report.sent_bytes - self._sent)
        self._received, self._sent = report.received_bytes, report.sent_bytes
        self._level = min(MAX_LEVEL, self._drained(now) + max(received, sent))
        self._level_at = now
        if received > 0:
            self._last_received = now
            self._unanswered_bytes, self._unanswered_since = 0, None
        elif sent > 0:
            self._unanswered_bytes += sent
            if self._unanswered_bytes > KEEPALIVES and self._unanswered_since is None:
                self._unanswered_since = now

    def forget_unanswered(self) -> None:
        """Begin anew: the data takes another path from here on."""
        self._unanswered_bytes, self._unanswered_since = 0, None

    def active(self, now: float) -> bool:
        """Whether there was traffic, keepalives aside, in the last minute."""
        return self._drained(now) > ACTIVE_BYTES

    def received_after(self, moment: float, endpoint: Endpoint) -> bool:
        """Whether authenticated data came in after `moment` while sending to `endpoint`."""
        if self.endpoint != endpoint or self._last_received is None:
            return False
        return self._last_received > moment

    def unanswered(self, now: float) -> bool:
        """Whether data has been sent without any answer for too long."""
        since = self._unanswered_since
        return since is not None and now - since >= UNANSWERED_AFTER

    def unanswered_at(self) -> float | None:
        """When `unanswered` turns true unless something is received."""
        since = self._unanswered_since
        return None if since is None else since + UNANSWERED_AFTER

    def _drained(self, now: float) -> float:
        return max(0.0, self._level - DRAIN_RATE * (now - self._level_at))
