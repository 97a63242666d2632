"""A check that was overheard moves nothing, however much later it is sent again."""

from random import Random

import pytest

from nat.machine import Datagram
from nat.path.checks import REPLAY_MEMORY, Check, Checks
from nat.path.credentials import Role
from nat.path.nomination import REMEMBERED, RENEW_AFTER, NominationFollower, Nominator
from nat.path.pair import PairKey
from nat.path.replays import Replays
from nat.stun.message import parse
from tests.support.pairs import pair_to
from tests.support.peers import credentials_of

PAIR = pair_to()
ELSEWHERE = pair_to(66)


class Ends:
    """Both ends of the checks of one pair: the controlling one sends, the other follows."""

    def __init__(self) -> None:
        self._sends = Checks(
            credentials=credentials_of(Role.CONTROLLING), role=Role.CONTROLLING, rng=Random(1)
        )
        self._hears = Checks(
            credentials=credentials_of(Role.CONTROLLED), role=Role.CONTROLLED, rng=Random(2)
        )
        self.nominator = Nominator()
        self.follower = NominationFollower()
        self.nominator.nominate()

    def check(self, *, nominates: bool = True) -> bytes:
        """Let a check come in, and return it for whoever overhears it."""
        number = self.nominator.number if nominates else None
        if nominates:
            self.nominator.sent()
        payload = self._sends.request(PAIR, number, 0.0)
        self.hear(payload, PAIR.key)
        return payload

    def hear(self, payload: bytes, key: PairKey) -> bool:
        """Take in a check as the receiver does; tell whether it has changed anything."""
        check = self._hears.judge(parse(payload), Datagram(key.base, key.remote, payload), 0.0)
        assert isinstance(check, Check)
        before = self.follower.key, self.follower.number
        if not check.repeated and check.nomination is not None:
            self.follower.follow_numbered(check.nomination, check.key, check.transaction_id)
        return (self.follower.key, self.follower.number) != before


@pytest.mark.parametrize("plain", [0.0, 0.5])
@pytest.mark.parametrize("count", [1, RENEW_AFTER, 2 * REPLAY_MEMORY])
def test_a_nomination_is_never_moved_by_an_old_check(count: int, plain: float) -> None:
    ends, rng = Ends(), Random(1)
    overheard = [ends.check(nominates=rng.random() >= plain) for _ in range(count)]
    overheard.append(ends.check())

    # In any order and many times, so that what is remembered is overwritten by what is old.
    for payload in rng.choices(overheard, k=2 * REPLAY_MEMORY + count):
        assert not ends.hear(payload, ELSEWHERE.key)


def test_a_check_that_comes_from_behind_another_mapping_is_followed() -> None:
    ends = Ends()
    payload = ends.check()
    number = ends.nominator.number
    fresh = ends._sends.request(PAIR, number, 0.0)

    assert not ends.hear(payload, ELSEWHERE.key)
    assert ends.hear(fresh, ELSEWHERE.key)


def test_a_number_is_renewed_long_before_checks_that_carried_it_are_forgotten() -> None:
    nominator = Nominator()
    numbers = []
    for _ in range(10 * RENEW_AFTER):
        numbers.append(nominator.number)
        nominator.sent()

    assert max(numbers.count(number) for number in numbers) == RENEW_AFTER < REMEMBERED


def test_the_last_few_are_remembered_and_no_more() -> None:
    replays = Replays(3)
    ids = [bytes([n]) * 12 for n in range(5)]

    assert [replays.has_seen(id_) for id_ in ids] == [False] * 5
    assert [replays.has_seen(id_) for id_ in ids[2:]] == [True] * 3
    assert not replays.has_seen(ids[0])
    assert not replays.has_seen(ids[2]), "it was the oldest"
