"""Numbers of nominations on both sides."""

from hypothesis import given
from hypothesis import strategies as st

from nat.path.nomination import NominationFollower, Nominator
from nat.path.pair import PairKey
from nat.stun.message import MAX_NOMINATION
from tests.support.network import endpoint

KEYS = [PairKey(endpoint("192.0.2.1"), endpoint("192.0.2.2", port)) for port in range(1, 5)]


def check(number: int) -> bytes:
    """Return the id of a check."""
    return number.to_bytes(12, "little")


def test_numbers_increase() -> None:
    nominator = Nominator()

    numbers = []
    for _ in range(3):
        nominator.nominate()
        numbers.append(nominator.number)

    assert numbers == [1, 2, 3]


def test_a_higher_number_of_the_peer_is_overtaken_and_a_lower_one_ignored() -> None:
    nominator = Nominator()
    nominator.nominate()

    assert not nominator.overtake(1)
    assert nominator.overtake(40)
    assert nominator.number == 41
    assert not nominator.overtake(41)


def test_numbers_stay_within_24_bits() -> None:
    nominator = Nominator()

    nominator.overtake(MAX_NOMINATION)
    nominator.nominate()

    assert nominator.number == MAX_NOMINATION


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from(KEYS)), min_size=1))
def test_the_latest_of_the_highest_number_is_followed(
    nominations: list[tuple[int, PairKey]],
) -> None:
    follower = NominationFollower()

    for turn, (number, key) in enumerate(nominations):
        follower.follow_numbered(number, key, check(turn))

    highest = max(number for number, _ in nominations)
    assert follower.number == highest
    assert follower.key == [key for number, key in nominations if number == highest][-1]


def test_of_plain_nominations_the_highest_priority_is_followed_while_it_works() -> None:
    follower = NominationFollower()

    follower.follow_plain(KEYS[0], 10, replace=True)
    follower.follow_plain(KEYS[1], 5, replace=False)
    assert follower.key == KEYS[0]
    follower.follow_plain(KEYS[1], 5, replace=True)
    assert follower.key == KEYS[1]
    assert follower.number is None


def test_a_number_ends_plain_nominations_for_good() -> None:
    follower = NominationFollower()

    follower.follow_numbered(1, KEYS[0], check(1))
    follower.follow_plain(KEYS[1], 10**9, replace=True)

    assert follower.key == KEYS[0]


def test_data_that_moves_is_followed_until_the_next_nomination() -> None:
    follower = NominationFollower()
    follower.follow_numbered(3, KEYS[0], check(3))

    follower.adopt(KEYS[1])
    assert follower.key == KEYS[1]
    follower.follow_numbered(2, KEYS[2], check(2))
    assert follower.key == KEYS[1]
    follower.follow_numbered(4, KEYS[2], check(4))
    assert follower.key == KEYS[2]
