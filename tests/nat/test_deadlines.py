"""What is due, found without looking at everything: the same as looking at everything."""

import math

from hypothesis import given
from hypothesis import strategies as st

from nat.deadlines import SLACK, Deadlines

KEYS = st.sampled_from("abcdef")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.none() | st.integers(0, 20)),
        st.tuples(st.just("discard"), KEYS, st.none()),
        st.tuples(st.just("due"), st.none(), st.integers(0, 20)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_knows_what_a_table_knows(steps: list[tuple[str, str | None, int | None]]) -> None:
    subject: Deadlines[str] = Deadlines()
    table: dict[str, int] = {}
    for verb, key, number in steps:
        match verb, key, number:
            case "set", str(), int():
                subject.set(key, number)
                table[key] = number
            case "set", str(), None:
                subject.set(key, None)
                table.pop(key, None)
            case "discard", str(), _:
                subject.discard(key)
                table.pop(key, None)
            case "due", _, int():
                assert set(subject.due(number)) == {
                    k for k, when in table.items() if when <= number
                }
            case _:
                raise AssertionError(verb)
        assert subject.soonest() == min(table.values(), default=None)


def test_what_is_due_comes_in_the_order_in_which_it_was_first_set() -> None:
    subject: Deadlines[str] = Deadlines()
    for key, deadline in (("b", 3.0), ("a", 2.0), ("c", 1.0), ("b", 0.0)):
        subject.set(key, deadline)

    assert subject.due(5.0) == ["b", "a", "c"]
    assert subject.due(5.0) == ["b", "a", "c"], "until they are set again"


def test_infinity_is_never() -> None:
    subject: Deadlines[str] = Deadlines()
    subject.set("a", math.inf)

    assert subject.soonest() is None


def test_moving_one_deadline_for_ever_takes_no_memory() -> None:
    subject: Deadlines[str] = Deadlines()
    for number in range(10_000):
        subject.set("a", float(10_000 - number))

    assert len(subject._heap) <= 2 + SLACK + 1
    assert subject.soonest() == 1.0
