"""What servers saw, put into the words of RFC 4787."""

import pytest

from nat.machine import Endpoint
from nat.stun.nat_behaviour import MappingBehaviour, judge_mapping
from tests.support.network import endpoint

BASE = endpoint("192.168.1.2", 20000)
ONE, ONE_B = endpoint("203.0.113.1", 3478), endpoint("203.0.113.1", 3479)
TWO = endpoint("203.0.113.2", 3478)
A, B, C = (endpoint("198.51.100.7", port) for port in (42000, 42001, 42002))

EIM, ADM, APDM = (
    MappingBehaviour.ENDPOINT_INDEPENDENT,
    MappingBehaviour.ADDRESS_DEPENDENT,
    MappingBehaviour.ADDRESS_AND_PORT_DEPENDENT,
)


@pytest.mark.parametrize(
    ("mapped", "behaviour"),
    [
        ({}, MappingBehaviour.UNKNOWN),
        ({ONE: BASE}, MappingBehaviour.NONE),
        ({ONE: A}, MappingBehaviour.UNKNOWN),
        ({ONE: A, ONE_B: A}, MappingBehaviour.UNKNOWN),
        ({ONE: A, ONE_B: B}, APDM),
        ({ONE: A, TWO: A}, EIM),
        ({ONE: A, TWO: B}, MappingBehaviour.DESTINATION_DEPENDENT),
        ({ONE: A, ONE_B: A, TWO: A}, EIM),
        ({ONE: A, ONE_B: A, TWO: B}, ADM),
        ({ONE: A, ONE_B: B, TWO: C}, APDM),
    ],
)
def test_mapping_is_judged_by_what_each_destination_sees(
    mapped: dict[Endpoint, Endpoint], behaviour: MappingBehaviour
) -> None:
    assert judge_mapping(BASE, mapped) is behaviour


@pytest.mark.parametrize(
    ("behaviour", "fixed"),
    [(EIM, True), (MappingBehaviour.NONE, True), (APDM, False), (MappingBehaviour.UNKNOWN, None)],
)
def test_only_what_is_known_is_fixed_or_not(
    behaviour: MappingBehaviour, fixed: bool | None
) -> None:
    assert behaviour.fixed is fixed
