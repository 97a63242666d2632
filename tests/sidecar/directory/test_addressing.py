"""The address book: the same messages make the same book, whatever happened to them."""

from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.directory.addressing import LEASE, AddressBook, Claim, choose, fold
from sidecar.identity import DeviceKey
from sidecar.keybase.announce_channel import DEV_IDS

SUBNET = IPv4Network("100.64.7.0/28")
STATIC = frozenset({IPv4Address("100.64.7.1")})
A, B, C = (("user", name) for name in "abc")
X, Y = IPv4Address("100.64.7.5"), IPv4Address("100.64.7.6")


def claim(
    id_: int, device: DeviceKey, ip: IPv4Address, at: float = 0.0, since: int | None = None
) -> Claim:
    return Claim(id_, at, device, ip, since)


def book(*claims: Claim) -> AddressBook:
    return fold(claims, usable=SUBNET, static=STATIC)


CLAIMS = st.lists(
    st.builds(
        Claim,
        id=st.integers(1, 60),
        sent_at=st.floats(0, 4 * LEASE),
        device=st.sampled_from([A, B, C]),
        ip=st.sampled_from([X, Y, *STATIC, IPv4Address("100.64.7.15"), IPv4Address("10.0.0.1")]),
        since=st.none() | st.integers(1, 60),
    ),
    max_size=25,
    unique_by=lambda c: c.id,
)


@given(CLAIMS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_messages_do_not_matter(
    claims: list[Claim], random: Random
) -> None:
    shuffled = [*claims, *claims[:5]]
    random.shuffle(shuffled)

    assert book(*shuffled) == book(*claims)


@given(CLAIMS)
def test_nobody_has_two_addresses_and_no_static_one_is_taken(claims: list[Claim]) -> None:
    result = book(*claims)

    holders = [lease.device for lease in result.leases.values()]
    assert len(set(holders)) == len(holders)
    assert set(result.leases) <= {X, Y}


def test_the_lower_message_id_wins_and_the_winner_does_nothing() -> None:
    assert book(claim(4, B, X), claim(3, A, X)).address_of(A) == X
    assert book(claim(4, B, X), claim(3, A, X)).address_of(B) is None


def test_a_later_claim_in_chat_does_not_come_before_an_earlier_one_in_the_dev_topic() -> None:
    holder, usurper = claim(DEV_IDS + 7, A, X, at=0.0), claim(7, B, X, at=60.0, since=7)
    refreshed = claim(DEV_IDS + 8, A, X, at=1500.0, since=DEV_IDS + 7)

    assert book(holder, usurper, refreshed).address_of(A) == X
    assert book(holder, usurper).address_of(B) is None


def test_who_speaks_in_chat_again_holds_what_it_says_there() -> None:
    result = book(claim(DEV_IDS + 7, A, X, at=0.0), claim(8, A, Y, at=600.0))

    assert result.address_of(A) == Y


def test_a_lease_that_lapsed_goes_to_who_claims_it() -> None:
    assert book(claim(1, A, X), claim(2, B, X, at=LEASE)).address_of(A) == X
    assert book(claim(1, A, X), claim(2, B, X, at=LEASE + 1)).address_of(B) == X


def test_a_refreshed_lease_does_not_lapse() -> None:
    result = book(
        claim(1, A, X), claim(2, A, X, at=LEASE - 1, since=1), claim(3, B, X, at=LEASE + 1)
    )

    assert result.address_of(A) == X


def test_who_claims_another_address_gives_the_earlier_one_up() -> None:
    result = book(claim(1, A, X), claim(2, A, Y), claim(3, B, X))

    assert (result.address_of(A), result.address_of(B)) == (Y, X)


@pytest.mark.parametrize("since", [1, 99, 100])
def test_a_seniority_that_nobody_can_see_is_not_believed(since: int) -> None:
    result = book(claim(100, B, X), claim(101, A, X, at=10.0, since=since))

    assert result.address_of(B) == X


def test_who_holds_an_address_gets_it_back_as_soon_as_a_newcomer_gives_way() -> None:
    claims = [claim(100, B, X), claim(101, A, X, at=10.0, since=7), claim(102, B, Y, at=11.0)]
    refreshed = claim(103, A, X, at=1500.0, since=7)

    assert book(*claims).address_of(A) is None
    assert book(*claims, refreshed).address_of(A) == X


def test_a_visible_message_of_somebody_else_proves_nothing() -> None:
    result = book(claim(1, C, X, at=0.0), claim(2, B, X, at=LEASE + 1), claim(3, A, X, since=1))

    assert result.address_of(B) == X


def test_who_was_silent_for_more_than_a_lease_has_lost_its_seniority() -> None:
    result = book(
        claim(1, A, X), claim(2, B, X, at=LEASE + 1), claim(3, A, X, at=LEASE + 2, since=1)
    )

    assert result.address_of(B) == X


def test_two_hundred_that_start_in_one_second_all_get_an_address() -> None:
    subnet = IPv4Network("100.64.0.0/24")
    rng = Random(7)
    devices = [("user", str(n)) for n in range(200)]
    claims: list[Claim] = []
    rounds = 0
    while True:
        current = fold(claims, usable=subnet, static=frozenset())
        waiting = [device for device in devices if current.address_of(device) is None]
        if not waiting:
            break
        rounds += 1
        for device in waiting:  # all of them choose from what they have seen so far
            ip = choose(rng, current, usable=subnet, taken=frozenset())
            assert ip is not None
            claims.append(Claim(len(claims) + 1, float(rounds), device, ip, None))

    assert len(set(current.addresses().values())) == 200
    assert rounds <= 10


def test_exhaustion_is_said() -> None:
    subnet = IPv4Network("100.64.0.0/30")
    taken = frozenset(subnet.hosts())

    assert choose(Random(1), AddressBook({}), usable=subnet, taken=taken) is None


def test_the_last_free_address_is_found() -> None:
    subnet = IPv4Network("100.64.0.0/22")
    last = subnet[1000]
    taken = frozenset(ip for ip in subnet.hosts() if ip != last)

    assert choose(Random(1), AddressBook({}), usable=subnet, taken=taken) == last
