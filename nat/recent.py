"""The last few of many: what a `deque` with a bound does, in a tenth of its memory while it is empty.

A deque takes 600 bytes before anything is in it, and a thousand peers have five thousand of them.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Values in the order in which they came; the oldest go.

    Args:
        bound: how many are kept; a few hundred at most, since a list is moved for each that goes.
    """

    __slots__ = ("_bound", "_values")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._values: list[T] = []

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    def __getitem__(self, index: int) -> T:
        return self._values[index]

    def __contains__(self, value: object) -> bool:
        return value in self._values

    def append(self, value: T) -> None:
        """Take in one more."""
        self._values.append(value)
        if len(self._values) > self._bound:
            del self._values[0]

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()
