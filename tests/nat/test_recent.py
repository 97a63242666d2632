"""The last few of many: the same as a bounded deque."""

import sys
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from nat.recent import Recent


@given(st.integers(1, 6), st.lists(st.integers(0, 9), max_size=20))
def test_it_keeps_what_a_bounded_deque_keeps(bound: int, values: list[int]) -> None:
    subject: Recent[int] = Recent(bound)
    model: deque[int] = deque(maxlen=bound)
    for value in values:
        subject.append(value)
        model.append(value)

        assert list(subject) == list(model)
        assert (len(subject), subject[0], value in subject) == (len(model), model[0], True)
    subject.clear()
    assert len(subject) == 0


def test_an_empty_one_is_small() -> None:
    subject: Recent[int] = Recent(5)

    assert sys.getsizeof(subject) + sys.getsizeof(subject._values) < sys.getsizeof(deque()) / 4
