"""A key that several devices announce is one's, in the end whoever holds it."""

from sidecar.announcement import Announcement
from sidecar.directory.key_holders import KeyHolders
from sidecar.directory.records import Record, Standing
from sidecar.identity import DeviceKey, PublicKey

KEY, OURS = PublicKey(bytes([1]) * 32), PublicKey(bytes([2]) * 32)
ME: DeviceKey = ("me", "m")
OWNER: DeviceKey = ("bob", "b")
THIEF: DeviceKey = ("eve", "e")


def says(id_: int, key: PublicKey = KEY, seq: int | None = 1) -> Standing:
    return Standing(Record(id_, 0.0, Announcement(key, None, seq)), id_, seq or 0, id_)


def holder(subject: KeyHolders, standings: dict[DeviceKey, Standing], key: PublicKey = KEY) -> str:
    return subject.holdings(standings, ME, OURS)[key].holder[0]


def test_who_said_it_first_counts_until_something_is_proven() -> None:
    subject, standings = KeyHolders(), {THIEF: says(5), OWNER: says(4)}

    holding = subject.holdings(standings, ME, OURS)[KEY]

    assert (holding.holder, holding.others, holding.proven) == (OWNER, (THIEF,), False)


def test_a_thief_whose_lines_are_the_older_ones_that_are_known_is_tried_and_then_the_owner() -> (
    None
):
    subject, standings = KeyHolders(), {THIEF: says(3), OWNER: says(4)}
    assert holder(subject, standings) == "eve"

    subject.try_next(KEY)
    assert holder(subject, standings) == "bob"
    assert subject.confirm(OWNER, KEY)

    subject.try_next(KEY)
    assert holder(subject, standings) == "bob", "a passed check is the end of it"
    assert subject.holdings(standings, ME, OURS)[KEY].proven


def test_a_line_that_can_prove_nothing_comes_last() -> None:
    assert holder(KeyHolders(), {THIEF: says(1, seq=None), OWNER: says(9)}) == "bob"


def test_our_own_key_is_ours_whoever_announces_it() -> None:
    holding = KeyHolders().holdings({THIEF: says(1, OURS)}, ME, OURS)[OURS]

    assert (holding.holder, holding.others, holding.proven) == (ME, (THIEF,), True)


def test_the_proof_of_one_who_announces_another_key_by_now_binds_nobody() -> None:
    subject = KeyHolders()
    subject.confirm(OWNER, KEY)

    assert holder(subject, {THIEF: says(5)}) == "eve"
