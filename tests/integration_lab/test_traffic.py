"""Counting of what was lost."""

from hypothesis import given
from hypothesis import strategies as st

from integration.traffic import Direction, count


def ends(sent: int, arrived: list[int]) -> Direction:
    return count(
        {"sent": sent, "refused": 0},
        {"arrived": arrived, "duplicated": 2, "reordered": 1, "longest_gap": 0.5},
    )


def test_lost_datagrams_are_counted_as_runs() -> None:
    direction = ends(10, [0, 1, 4, 5, 6, 8])
    assert direction.lost == (range(2, 4), range(7, 8), range(9, 10))
    assert direction.lost_count == 4
    assert (direction.received, direction.duplicated, direction.reordered) == (6, 2, 1)
    assert direction.longest_gap == 0.5


def test_nothing_lost_is_an_empty_tuple() -> None:
    assert ends(3, [0, 1, 2]).lost == ()


@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, 59)))))
def test_every_number_is_either_received_or_lost(case: tuple[int, set[int]]) -> None:
    sent, arrived = case[0], {number for number in case[1] if number < case[0]}
    direction = ends(sent, sorted(arrived))
    lost = [number for run in direction.lost for number in run]
    assert sorted([*lost, *arrived]) == list(range(sent))
    assert direction.received + direction.lost_count == sent
