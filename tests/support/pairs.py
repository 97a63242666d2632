"""Candidate pairs for tests of their parts."""

from nat.candidate import CandidateType, local_candidate
from nat.path.pair import Pair, PairKey

from .network import endpoint


def pair_to(last: int = 1, *, now: float = 0.0) -> Pair:
    """A pair from one base of ours to a host address of the peer."""
    base, remote = endpoint("192.0.2.1"), endpoint(f"198.51.100.{last + 1}")
    return Pair(
        key=PairKey(base, remote),
        local=local_candidate(CandidateType.HOST, base, base),
        remote=local_candidate(CandidateType.HOST, remote, remote),
        priority=last,
        announced=True,
        noticed_at=now,
        asked_at=now,
        data=remote,
    )
