"""The loop: every target in turn, mutated examples mostly, random bytes now and then."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from .decoders import Target, decoders
from .machines import machines
from .mutation import mutated, random_bytes

RANDOM_SHARE: Final = 0.1
"""Part of the inputs that no example was used for."""

LIFE: Final = 5_000
"""Inputs until a target is made anew."""


class FuzzFailure(AssertionError):
    """An input that something stumbled over."""

    def __init__(self, target: str, data: bytes, error: BaseException) -> None:
        super().__init__(f"{target}: {type(error).__name__}: {error}\ninput: {data!r}")


def targets() -> list[Target]:
    """Return everything that is fuzzed."""
    return decoders() + machines()


def fuzz(
    count: int,
    seed: int,
    wanted: Sequence[Target] | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Counter[str]:
    """Feed `count` inputs; returns how many each target got.

    Raises:
        FuzzFailure: an exception escaped, or state changed without authority.
    """
    rng = Random(seed)
    chosen = list(targets() if wanted is None else wanted)
    feeds: dict[str, Callable[[bytes], None]] = {}
    fed: Counter[str] = Counter()
    for number in range(count):
        target = chosen[number % len(chosen)]
        if fed[target.name] % LIFE == 0:
            feeds[target.name] = target.make(rng)
        fed[target.name] += 1
        data = random_bytes(rng) if rng.random() < RANDOM_SHARE else mutated(rng, target.corpus)
        try:
            feeds[target.name](data)
        except Exception as error:
            raise FuzzFailure(target.name, data, error) from error
        if number % 50_000 == 0:
            on_progress(number)
    return fed
