"""The book of a growing log is the fold of everything, however it grew."""

from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.directory import ledger as module
from sidecar.directory.addressing import LEASE, Claim, fold, folded
from sidecar.directory.ledger import Ledger
from sidecar.identity import DeviceKey

SUBNET = IPv4Network("100.64.7.0/28")
DEVICES: list[DeviceKey] = [("user", name) for name in "abcd"]
ADDRESSES = [SUBNET[n] for n in (1, 2, 3)]

CLAIMS = st.lists(
    st.builds(
        Claim,
        id=st.integers(1, 30),
        sent_at=st.sampled_from([0.0, LEASE / 2, LEASE, LEASE + 1, 2 * LEASE + 2]),
        device=st.sampled_from(DEVICES),
        ip=st.sampled_from(ADDRESSES),
        since=st.none() | st.integers(1, 30),
    ),
    max_size=20,
    unique_by=lambda claim: claim.id,
)
ELIGIBLE = st.frozensets(st.sampled_from(DEVICES))
STATIC = st.sampled_from([frozenset[IPv4Address](), frozenset(ADDRESSES[:1])])


@given(
    CLAIMS,
    st.lists(st.tuples(st.integers(0, 20), ELIGIBLE, STATIC), max_size=6),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_every_look_in_between_shows_the_fold_of_what_is_known(
    claims: list[Claim],
    looks: list[tuple[int, frozenset[DeviceKey], frozenset[IPv4Address]]],
    in_order: bool,
    random: Random,
) -> None:
    arriving = sorted(claims, key=lambda claim: claim.id) if in_order else list(claims)
    subject, known = Ledger(SUBNET), list[Claim]()
    for count, eligible, static in [*looks, (len(arriving), frozenset(DEVICES), frozenset())]:
        for claim in arriving[:count]:
            subject.add(claim)
            subject.add(claim)
        known += arriving[:count]
        arriving = arriving[count:]
        if known and random.random() < 0.3:
            void = random.choice(known)
            subject.remove(void.device, void.id)
            known.remove(void)

        expected = fold(
            (claim for claim in known if claim.device in eligible), usable=SUBNET, static=static
        )
        assert subject.book(eligible, static) == expected


def test_a_message_more_is_not_folded_with_all_that_came_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folds = 0

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal folds
        folds += 1
        return folded(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "folded", counted)
    subnet, rng = IPv4Network("100.64.0.0/16"), Random(1)
    subject = Ledger(subnet)
    devices = [("user", str(n)) for n in range(100)]
    for number in range(1, 1001):
        n = rng.randrange(100)
        since = None if number < 500 else 1
        subject.add(Claim(number, number * 20.0, devices[n], subnet[n + 1], since))
        subject.book(frozenset(devices), frozenset())

    assert folds <= 2
