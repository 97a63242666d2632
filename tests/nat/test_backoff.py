"""Waits grow, stay below their limit, and scatter."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from nat.backoff import Backoff

BACKOFF = Backoff(first=0.25, factor=2.0, longest=30.0, jitter=0.3)


class Never(Random):
    def random(self) -> float:
        return 0.0


def test_waits_double_up_to_the_limit() -> None:
    waits = [BACKOFF.delay(failures, Never()) for failures in range(1, 10)]

    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(st.integers(1, 10**9), st.integers())
def test_jitter_only_shortens_and_nothing_overflows(failures: int, seed: int) -> None:
    full = BACKOFF.delay(failures, Never())

    assert 0.7 * full <= BACKOFF.delay(failures, Random(seed)) <= full <= 30.0
