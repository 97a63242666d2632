"""Which of two usable pairs is better (design D5).

Direct before relayed, one relay before two, then the round-trip time. Two times that are as good
as equal are decided by the kind of the path, so that neighbours prefer their LAN to a hairpin.
"""

from dataclasses import dataclass
from typing import Final

RTT_SHARE: Final = 0.2
"""A pair must be faster by this share of the slower one to displace it."""

RTT_STEP: Final = 0.005
"""… and by this many seconds: less is noise."""

MIN_SAMPLES: Final = 3
"""Answers that a comparison of times needs on both sides; one sample may be luck."""


@dataclass(frozen=True, slots=True)
class Score:
    """A usable pair as selection sees it.

    Attributes:
        relay_hops: 0 for direct.
        kind_rank: the worse end: host 0, server-reflexive 1, peer-reflexive 2, relayed 3.
        rtt: smoothed round-trip time in seconds.
        samples: answers that `rtt` rests on.
        priority: of the pair (RFC 8445 §6.1.2.3), the last resort that both sides share.
    """

    relay_hops: int
    kind_rank: int
    rtt: float
    samples: int
    priority: int

    def displaces(self, incumbent: "Score") -> bool:
        """Whether it is worth leaving `incumbent`, which works, for this one."""
        if self.relay_hops != incumbent.relay_hops:
            return self.relay_hops < incumbent.relay_hops
        margin = max(RTT_STEP, RTT_SHARE * max(self.rtt, incumbent.rtt))
        if min(self.samples, incumbent.samples) >= MIN_SAMPLES:
            if self.rtt < incumbent.rtt - margin:
                return True
            if self.rtt > incumbent.rtt + margin:
                return False
        return self.kind_rank < incumbent.kind_rank

    def order(self) -> tuple[int, int, float, int]:
        """Sort key for choosing without an incumbent, best first."""
        return (self.relay_hops, self.kind_rank, self.rtt, -self.priority)
