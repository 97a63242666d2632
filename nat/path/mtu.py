"""How large a datagram a pair carries in one piece: DPLPMTUD (RFC 8899), per pair, on our checks.

A probe is a check that is padded and must not be fragmented. One that is answered proves its size;
one that is lost proves nothing by itself, so a size counts as too large after `MAX_PROBES`, and
only if an ordinary check has been answered meanwhile: a dead path is not a narrow one. No ICMP is
needed, and none is believed.

The first probe has the size that the data wants, so on most paths it is also the last. Where it
fails, what every path carries is assumed at once, and the truth is searched for in between.

Sizes are UDP payloads; `BASE_PACKET` and its neighbours are those of IP packets.
"""

import math
from enum import Enum
from typing import Final

MAX_PROBES: Final = 3
"""Probes of one size that must be lost (RFC 8899 §5.1.2, MAX_PROBES)."""

PROBE_TIMER: Final = 0.3
"""Least seconds that a probe has to be answered (§5.1.1 says 15 s without a measured RTT; here
there always is one)."""

PROBE_RTTS: Final = 3.0
"""Round trips that it has at least."""

CONFIRMATION_TIMER: Final = 15.0
"""Seconds between probes of the size in use while data flows (§5.1.1): so long, and a second more,
may a path that has become narrower swallow large packets."""

RAISE_TIMER: Final = 600.0
"""Seconds until a larger size is tried again while data flows (§5.1.1, PMTU_RAISE_TIMER)."""

STEP: Final = 16
"""Bytes between sizes: data is padded to a multiple of it, so nothing in between helps."""

IP_AND_UDP: Final = {4: 28, 6: 48}
"""Bytes of the headers before a payload, by IP version."""

BASE_PACKET: Final = 1280
"""Bytes of the IP packet that any path is assumed to carry: IPv6 promises it (RFC 8200 §5), and
an IPv4 path that does not is a curiosity (RFC 8899 §5.1.2 recommends 1200 and more)."""

LEAST_PACKET: Final = {4: 576, 6: 1280}
"""Bytes that must be possible (RFC 791 §3.1, RFC 8200 §5); the search ends here."""

RELAYED_PACKET: Final = 1500
"""Bytes of the largest packet that a relay is asked to carry."""

CHANNEL_HEADER: Final = 4
"""Bytes that a relay adds to a payload (RFC 8656 §12.4)."""


class Phase(Enum):
    """Where the search stands (RFC 8899 §5.2)."""

    SEARCHING = "searching"
    COMPLETE = "complete"
    ERROR = "error"
    """Not even the least size gets through, though checks do: padding is what is eaten."""


class MtuSearch:
    """The search of one pair; part of a `PathAgent`.

    Args:
        wanted: UDP payload of the largest packet that the data plane makes, in bytes.
        version: IP version of the pair.
        relayed: whether a relay carries it.
    """

    def __init__(self, *, wanted: int, version: int, relayed: bool) -> None:
        self._wanted = wanted
        headers = IP_AND_UDP[version]
        spare = 0
        if relayed:
            # Either leg may have the longer headers, and the one to the server has a channel's.
            headers, spare = IP_AND_UDP[6], CHANNEL_HEADER
            wanted = min(wanted, RELAYED_PACKET - headers - spare)
        self._sizes = _sizes(
            least=LEAST_PACKET[version] - headers - spare,
            base=BASE_PACKET - headers - spare,
            wanted=wanted,
        )
        self._base = self._sizes.index(_rounded(BASE_PACKET - headers - spare, wanted))
        self._cautious = relayed
        self._phase = Phase.SEARCHING
        self._proven = -1
        self._failed = len(self._sizes)
        self._confirmed_at = -math.inf
        self._failed_at = -math.inf
        self._first_probe_at = -math.inf
        self._deadline = -math.inf
        self._aim(len(self._sizes) - 1)

    @property
    def phase(self) -> Phase:
        """Where the search stands."""
        return self._phase

    @property
    def retrying(self) -> bool:
        """Whether the last probe repeats a lost one: an ordinary check tells what that means."""
        return self._probes > 1

    @property
    def limit(self) -> int | None:
        """Largest payload in bytes that should be sent; `None`: as large as data wants it."""
        if self._proven >= 0 and self._sizes[self._proven] >= self._wanted:
            return None
        if self._proven >= 0:
            return self._sizes[self._proven]
        if self._phase is Phase.ERROR:
            return self._sizes[self._base]
        if self._failed < len(self._sizes) or self._cautious:
            return self._sizes[min(self._base, self._failed - 1)]
        return None

    def restart(self) -> None:
        """Try the largest size again at once: the path may be another."""
        self._phase = Phase.SEARCHING
        self._failed = len(self._sizes)
        self._aim(self._failed - 1)

    def take_probe(
        self, now: float, *, rtt: float, answered_at: float | None, active: bool
    ) -> int | None:
        """Return the payload size of a probe that is due, if one is.

        Args:
            now: current time in seconds.
            rtt: round-trip time of the pair in seconds.
            answered_at: when an ordinary check of the pair was last answered.
            active: whether data flows.
        """
        if active:
            self._look_again(now)
        if self._phase is not Phase.SEARCHING or now < self._deadline:
            return None
        alive = answered_at is not None and answered_at > self._first_probe_at
        if self._probes >= MAX_PROBES and alive:
            self._lost(now)
            if self._phase is not Phase.SEARCHING:
                return None
        if self._probes == 0:
            self._first_probe_at = now
        self._probes += 1
        self._deadline = now + max(PROBE_TIMER, PROBE_RTTS * rtt)
        return self._sizes[self._index]

    def next_timeout(self, *, active: bool) -> float:
        """Return when `take_probe` may next return a size; infinity: not as things are."""
        if self._phase is Phase.SEARCHING:
            return self._deadline
        if not active:
            return math.inf
        return min(self._confirm_at, self._raise_at)

    def answered(self, size: int, now: float) -> None:
        """Note that a probe of `size` was answered."""
        if size not in self._sizes:
            return
        self._confirmed_at = now
        self._proven = max(self._proven, self._sizes.index(size))
        self._failed = max(self._failed, self._proven + 1)
        if self._index <= self._proven:
            self._continue(now)

    def refused(self, size: int, now: float) -> None:
        """Note that our own host does not send this size in one piece."""
        if self._phase is Phase.SEARCHING and size == self._sizes[self._index]:
            self._lost(now)

    @property
    def _confirm_at(self) -> float:
        return self._confirmed_at + CONFIRMATION_TIMER if self._proven >= 0 else math.inf

    @property
    def _raise_at(self) -> float:
        widest = self._proven == len(self._sizes) - 1
        return math.inf if widest else self._failed_at + RAISE_TIMER

    def _look_again(self, now: float) -> None:
        """Confirm what is used, or try for more, if it is time."""
        if self._phase is Phase.SEARCHING:
            return
        if now >= self._raise_at:
            self.restart()
        elif now >= self._confirm_at:
            self._phase = Phase.SEARCHING
            self._aim(self._proven)

    def _lost(self, now: float) -> None:
        """Conclude that the size in question is too large."""
        if self._index == len(self._sizes) - 1:
            self._failed_at = now
        self._failed = self._index
        if self._proven >= self._failed:
            # It was proven once: the path has become narrower (§4.3), by nobody knows how much.
            self._proven = -1
        self._continue(now)

    def _continue(self, now: float) -> None:
        if self._failed > self._proven + 1:
            if self._proven >= 0:
                self._aim((self._proven + self._failed) // 2)
            else:
                self._aim(self._base if self._failed > self._base else 0)
            return
        self._phase = Phase.COMPLETE
        if self._proven < 0:
            self._phase = Phase.ERROR
            self._cautious = True

    def _aim(self, index: int) -> None:
        self._index = index
        self._probes = 0
        self._deadline = -math.inf


def _sizes(*, least: int, base: int, wanted: int) -> tuple[int, ...]:
    """Return the sizes that are worth a probe, ascending."""
    top = _top(wanted)
    grid = range(_rounded(base, wanted), top, STEP)
    return tuple(sorted({_rounded(least, wanted), *grid, top}))


def _rounded(size: int, wanted: int) -> int:
    return min(size - size % STEP, _top(wanted))


def _top(wanted: int) -> int:
    return wanted + -wanted % 4  # STUN's lengths are multiples of 4 (RFC 8489 §5)
