"""Which of the usable pairs is best (design D5): an order that is a value, with hysteresis.

Direct before relayed, one relay before two, then the round-trip time. Where times do not differ,
the kind of the path decides, so that neighbours prefer their LAN to a hairpin.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .pair import MIN_SAMPLES, Pair

RTT_SHARE: Final = 0.2
"""A pair must be faster than the incumbent ever was by this share of the incumbent's time …"""

RTT_STEP: Final = 0.005
"""… and by this many seconds: less is noise, and a change is not free."""

RTT_SAME: Final = RTT_STEP / 4
"""Seconds by which a pair of a better kind may be slower. There are three kinds below relayed, so
that all steps up in kind cost less than one `RTT_STEP`, and no cycle of changes exists."""


@dataclass(frozen=True, slots=True)
class Score:
    """A usable pair as selection sees it.

    Attributes:
        relay_hops: 0 for direct.
        kind_rank: the worse end: host 0, server-reflexive 1, peer-reflexive 2, relayed 3.
        rtt: round-trip time in seconds: the median of the last answers.
        least: the shortest of them. What a busy host adds is not the way's: a pair that was found
            a moment later, when the host had calmed down, is not a faster one.
        samples: answers that these rest on.
        priority: of the pair (RFC 8445 §6.1.2.3), the last resort.
    """

    relay_hops: int
    kind_rank: int
    rtt: float
    least: float
    samples: int
    priority: int

    def displaces(self, incumbent: "Score") -> bool:
        """Whether it is worth leaving `incumbent`, which works, for this one."""
        if self.relay_hops != incumbent.relay_hops:
            return self.relay_hops < incumbent.relay_hops
        if min(self.samples, incumbent.samples) < MIN_SAMPLES:
            return False
        margin = max(RTT_STEP, RTT_SHARE * incumbent.least)
        if incumbent.least - self.rtt >= margin:
            return True
        return self.kind_rank < incumbent.kind_rank and self.rtt <= incumbent.rtt + RTT_SAME


def best_pair(
    pairs: Iterable[tuple[Pair, Score]], incumbent: tuple[Pair, Score] | None
) -> Pair | None:
    """Return the pair to use: `incumbent` unless another displaces it; `None`: there is none."""
    ranked = sorted(pairs, key=lambda entry: _order(entry[1]))
    if incumbent is None:
        if not ranked:
            return None
        incumbent = ranked[0]
    for pair, score in ranked:
        if score.displaces(incumbent[1]):
            incumbent = pair, score
    return incumbent[0]


def _order(score: Score) -> tuple[int, float, int, int]:
    return (score.relay_hops, score.rtt, score.kind_rank, -score.priority)
