"""Why the selected pair is preferred to the other pairs that work (`nat/path/score.py`)."""

from collections.abc import Sequence

from nat.candidate import CandidateType
from nat.path.events import PairReport, PairState
from nat.path.score import RTT_SHARE, RTT_STEP


def preference(pairs: Sequence[PairReport]) -> str | None:
    """Say it in one sentence; `None`: no pair is selected."""
    selected = next((pair for pair in pairs if pair.selected), None)
    if selected is None:
        return None
    others = [pair for pair in pairs if pair.state is PairState.VALID and pair is not selected]
    if not others:
        return "It is the only pair that works."
    rivals = [pair for pair in others if _hops(pair) <= _hops(selected)]
    if not rivals:
        return "It needs fewer relays than the others that work."
    rival = min(rivals, key=lambda pair: pair.rtt or 0.0)
    if selected.rtt is None or rival.rtt is None:
        return "Not all pairs that work are measured yet."
    times = f"{_ms(selected.rtt)} against {_ms(rival.rtt)}"
    if rival.rtt - selected.rtt >= max(RTT_STEP, RTT_SHARE * rival.rtt):
        return f"It is the fastest: {times}."
    if _rank(selected) < _rank(rival):
        return f"It is about as fast as the next one ({times}), and of the better kind."
    return (
        f"No other is faster by {RTT_SHARE:.0%} and {_ms(RTT_STEP)} ({times}): a change would gain "
        "nothing."
    )


def _hops(pair: PairReport) -> int:
    return [pair.local_kind, pair.remote.type].count(CandidateType.RELAYED)


def _rank(pair: PairReport) -> int:
    return max(pair.local_kind.rank, pair.remote.type.rank)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
