"""What the data plane's counters prove about a path (design D5): stronger than any probe."""

import math
from typing import Final

from ..machine import Endpoint
from .events import DataReport

EMPTY: Final = 32
"""Bytes of WireGuard's keepalive: an empty data message, which nobody acknowledges."""

KEEPALIVE_INTERVAL: Final = 20.0
"""Seconds in which at most one more keepalive is sent (WireGuard's usual 25, less some slack)."""

HANDSHAKE: Final = 148 + 92 + EMPTY
"""Bytes of a handshake: initiation, response, and the empty message that confirms it."""

ACTIVE_FOR: Final = 60.0
"""Seconds for which a peer counts as active after traffic that is not WireGuard's own."""

UNANSWERED_AFTER: Final = 15.0
"""Seconds: WireGuard's keepalive timeout (10) and rekey timeout (5) after data was sent."""

QUIET_FOR: Final = 35.0
"""Seconds that a live path may be quiet: a persistent keepalive comes each 25."""

CURRENT_FOR: Final = 2.5
"""Seconds for which a report says how things are; the data plane is polled each second at least."""

TELLING: Final = 0.1
"""Seconds between reports from which on it tells something that nothing has changed."""

HANDSHAKE_RESOLUTION: Final = 1.5
"""Seconds by which the age of one and the same handshake may seem to change."""


class DataEvidence:
    """Counters of one peer over time."""

    def __init__(self) -> None:
        self._last: DataReport | None = None
        self._last_at = -math.inf
        self._since = -math.inf
        self._arriving = False
        self._stalled = False
        self._received_at = -math.inf
        self._handshake_at = -math.inf
        self._active_until = -math.inf
        self._debt = 0
        self._debt_since = -math.inf
        self._unanswered_since: float | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the data plane sends to, as of the last report."""
        return None if self._last is None else self._last.endpoint

    @property
    def arriving(self) -> bool:
        """Whether the last report showed that authentic data had come in."""
        return self._arriving

    def stalls(self, endpoint: Endpoint | None) -> bool:
        """Whether data came in from `endpoint`, and now only leaves: a check would show a cut."""
        return self._stalled and endpoint is not None and self.endpoint == endpoint

    def delivers(self, endpoint: Endpoint | None) -> bool:
        """Whether that data came in while `endpoint` was the other end."""
        return self._arriving and endpoint is not None and self.endpoint == endpoint

    def report(self, report: DataReport, now: float) -> None:
        """Take in a report."""
        last, elapsed = self._last, now - self._last_at
        if elapsed < TELLING and _same(last, report):
            return
        self._since = self._last_at
        self._last, self._last_at = report, now
        was_arriving, self._stalled = self._arriving, False
        handshaken = self._note_handshake(report.handshake_age, now)
        if (
            last is None
            or report.received_bytes < last.received_bytes
            or report.sent_bytes < last.sent_bytes
        ):
            # First look, or a new session: nothing to compare with.
            self._arriving = False
            self.forget_unanswered()
            return
        received = report.received_bytes - last.received_bytes
        sent = report.sent_bytes - last.sent_bytes
        routine = _keepalives(elapsed) + (HANDSHAKE if handshaken else 0)
        if max(received, sent) > routine:
            self._active_until = now + ACTIVE_FOR
        self._arriving = received > 0
        # A keepalive's 32 bytes are no conversation that anybody waits for the other half of.
        self._stalled = was_arriving and not received and sent > _keepalives(elapsed)
        if self._arriving or handshaken:
            self._received_at = now
            self.forget_unanswered()
        elif sent > 0:
            self._owe(sent, now)

    def active(self, now: float) -> bool:
        """Whether there was traffic, WireGuard's own aside, in the last minute."""
        return now < self._active_until

    def proves(self, endpoint: Endpoint | None, since: float, now: float) -> bool:
        """Whether data of which `endpoint` is the other end has come in since a moment.

        Only what came in between two reports that are both younger counts, and only while the
        last one says so: bytes of before a cut are not taken for life after it.
        """
        return (
            self.delivers(endpoint) and self._since >= since and now < self._last_at + CURRENT_FOR
        )

    def supports(self, endpoint: Endpoint | None, now: float) -> bool:
        """Whether nothing speaks against `endpoint` yet: received lately, or nothing to answer."""
        return endpoint is not None and self.endpoint == endpoint and now < self._supported_until()

    def changes_after(self, moment: float) -> float:
        """Return when `proves` or `supports` may next turn false; infinity: never."""
        times = (self._last_at + CURRENT_FOR, self._supported_until())
        return min((time for time in times if time > moment), default=math.inf)

    def unanswered_at(self) -> float:
        """Return when data will have been sent in vain for too long; infinity: it is not."""
        since = self._unanswered_since
        return math.inf if since is None else since + UNANSWERED_AFTER

    def forget_unanswered(self) -> None:
        """Begin anew: something came in, or data takes another path from here on."""
        self._debt = 0
        self._unanswered_since = None

    def _supported_until(self) -> float:
        owing = self._unanswered_since is not None
        return self._received_at + (UNANSWERED_AFTER if owing else QUIET_FOR)

    def _note_handshake(self, age: float | None, now: float) -> bool:
        if age is None or now - age <= self._handshake_at + HANDSHAKE_RESOLUTION:
            return False
        self._handshake_at = now - age
        return True

    def _owe(self, sent: int, now: float) -> None:
        if self._debt == 0:
            self._debt_since = now
        self._debt += sent
        if self._unanswered_since is None and self._debt > _keepalives(now - self._debt_since):
            self._unanswered_since = now


def _same(last: DataReport | None, report: DataReport) -> bool:
    """Whether nothing has come in, and nothing goes elsewhere."""
    return (
        last is not None
        and last.endpoint == report.endpoint
        and last.received_bytes == report.received_bytes
    )


def _keepalives(elapsed: float) -> float:
    """Return how many bytes keepalives may account for in a time."""
    return EMPTY * (1 + elapsed // KEEPALIVE_INTERVAL)
