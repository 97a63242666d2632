"""The order of pairs is a value: relays, then time with hysteresis, then kind."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from nat.path.pair import MIN_SAMPLES, Pair
from nat.path.score import Score, best_pair
from tests.support.pairs import pair_to

KNOWN = MIN_SAMPLES


def score(
    rtt: float,
    *,
    least: float | None = None,
    hops: int = 0,
    kind: int = 1,
    samples: int = KNOWN,
    priority: int = 1,
) -> Score:
    return Score(
        relay_hops=hops,
        kind_rank=kind,
        rtt=rtt,
        least=rtt if least is None else least,
        samples=samples,
        priority=priority,
    )


def test_direct_displaces_relayed_however_slow_it_is_and_at_once() -> None:
    assert score(2.0, hops=0, samples=1).displaces(score(0.01, hops=1))
    assert not score(0.01, hops=1).displaces(score(2.0, hops=0))


def test_one_relay_displaces_two() -> None:
    assert score(0.2, hops=1, samples=1).displaces(score(0.1, hops=2))
    assert not score(0.1, hops=2).displaces(score(0.2, hops=1))


def test_a_pair_must_be_faster_by_20_percent() -> None:
    assert score(0.0799).displaces(score(0.1))
    assert not score(0.0801).displaces(score(0.1))


def test_a_pair_must_be_faster_by_5_milliseconds() -> None:
    assert score(0.0049).displaces(score(0.01))
    assert not score(0.0051).displaces(score(0.01))


def test_one_sample_is_not_enough_to_displace_what_is_as_direct() -> None:
    assert not score(0.01, samples=MIN_SAMPLES - 1).displaces(score(1.0))
    assert not score(0.01, kind=0, samples=MIN_SAMPLES - 1).displaces(score(0.01, kind=1))


def test_nor_is_one_sample_of_the_other_enough_to_be_displaced() -> None:
    assert not score(0.01).displaces(score(1.0, samples=MIN_SAMPLES - 1))


def test_what_a_busy_host_adds_to_the_time_of_a_pair_displaces_it_not() -> None:
    assert not score(0.001).displaces(score(0.03, least=0.002))
    assert score(0.001).displaces(score(0.03, least=0.02))


def test_a_better_kind_displaces_what_is_as_fast() -> None:
    lan, hairpin = score(0.0003, kind=0), score(0.0005, kind=1)

    assert lan.displaces(hairpin)
    assert not hairpin.displaces(lan)


def test_a_better_kind_that_is_slower_does_not_displace() -> None:
    assert not score(0.012, kind=0).displaces(score(0.01, kind=1))


SCORES = st.builds(
    lambda rtt, share, **rest: Score(rtt=rtt, least=rtt * share, **rest),
    rtt=st.floats(0.0001, 2.0),
    share=st.floats(0.1, 1.0),
    relay_hops=st.integers(0, 2),
    kind_rank=st.integers(0, 3),
    samples=st.integers(1, 5),
    priority=st.integers(0, 10),
)


@given(SCORES, SCORES)
def test_no_two_pairs_displace_each_other(one: Score, other: Score) -> None:
    assert not (one.displaces(other) and other.displaces(one))


@given(SCORES)
def test_no_pair_displaces_its_equal(one: Score) -> None:
    assert not one.displaces(one)


@given(st.lists(SCORES, min_size=1, max_size=6))
def test_choosing_again_and_again_comes_to_an_end(scores: list[Score]) -> None:
    pairs = [(pair_to(i), score) for i, score in enumerate(scores)]
    chosen: Pair | None = None
    for _ in range(3 * len(pairs)):
        incumbent = next((entry for entry in pairs if entry[0] is chosen), None)
        before, chosen = chosen, best_pair(pairs, incumbent)
        if before is chosen:
            return
    raise AssertionError("the choice never settles")


@given(st.lists(SCORES, min_size=1, max_size=4))
def test_the_choice_does_not_depend_on_the_order_of_the_list(scores: list[Score]) -> None:
    distinct = {(s.relay_hops, s.rtt, s.kind_rank, s.priority): s for s in scores}
    pairs = [(pair_to(i), score) for i, score in enumerate(distinct.values())]

    assert len({best_pair(order, None) for order in permutations(pairs)}) == 1


def test_nothing_is_chosen_from_nothing() -> None:
    assert best_pair([], None) is None


def test_the_fewest_relays_are_chosen_first() -> None:
    pairs = [(pair_to(0), score(0.01, hops=1)), (pair_to(1), score(0.5, samples=1))]

    assert best_pair(pairs, None) is pairs[1][0]
