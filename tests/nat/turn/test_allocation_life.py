"""An allocation is made, kept and released, by the server's leave (RFC 8656 §7, §8)."""

from ipaddress import ip_address

import pytest

from nat.machine import Endpoint
from nat.stun.wire import Method
from nat.turn.allocation import KEEPALIVE
from nat.turn.events import (
    Allocated,
    AllocationLost,
    AllocationRefused,
    Measured,
    Trouble,
)
from nat.turn.message import TurnError
from nat.turn.refusals import SOON
from tests.support.network import endpoint
from tests.support.turn_client import DUAL, RTT, Dialogue, started
from tests.support.turn_server import SimTurnServer


def test_an_allocation_takes_one_challenge_and_two_round_trips() -> None:
    dialogue = Dialogue(SimTurnServer())

    dialogue.connect()
    dialogue.run(2 * RTT)

    assert dialogue.of(Allocated) == [
        Allocated((Endpoint(ip_address("203.0.113.50"), 50000),), endpoint("198.51.100.9", 40000))
    ]
    assert dialogue.server.requests[Method.ALLOCATE] == 2
    assert dialogue.server.refusals == {TurnError.UNAUTHENTICATED: 1}


def test_both_families_come_with_one_allocation() -> None:
    dialogue = started(*DUAL)

    assert {relayed.ip.version for relayed in dialogue.allocation.relayed} == {4, 6}
    assert len(dialogue.server.allocations) == 1


def test_a_server_that_has_only_ipv6_is_asked_for_that() -> None:
    dialogue = started("2001:db8:50::1")

    assert [relayed.ip.version for relayed in dialogue.allocation.relayed] == [6]
    assert dialogue.server.refusals[TurnError.FAMILY_NOT_SUPPORTED] == 1


def test_a_server_that_refuses_an_attribute_is_asked_without() -> None:
    dialogue = Dialogue(SimTurnServer())
    dialogue.server.fail(Method.ALLOCATE, TurnError.UNKNOWN_ATTRIBUTE)
    dialogue.connect()

    dialogue.run(1.0)

    assert len(dialogue.of(Allocated)) == 1
    assert dialogue.server.refusals[TurnError.UNKNOWN_ATTRIBUTE] == 1


def test_a_server_without_credentials_is_used_without() -> None:
    dialogue = Dialogue(SimTurnServer(login=None), credentials=None)
    dialogue.connect()

    dialogue.run(RTT)

    assert len(dialogue.of(Allocated)) == 1
    assert dialogue.server.refusals == {}


def test_nothing_is_allocated_that_is_not_wanted_but_the_server_is_measured() -> None:
    dialogue = Dialogue(SimTurnServer(), wanted=False)
    dialogue.connect()

    dialogue.run(60.0)

    assert dialogue.server.requests[Method.ALLOCATE] == 0
    assert [event.rtt for event in dialogue.of(Measured)] == [pytest.approx(RTT)]
    assert dialogue.allocation.rtt == pytest.approx(RTT)


def test_an_allocation_that_is_not_wanted_any_more_is_released() -> None:
    dialogue = started()

    dialogue.allocation.want(False, dialogue.now)
    dialogue.run(2.0)

    assert dialogue.of(AllocationLost) == [AllocationLost(Trouble.RELEASED)]
    assert dialogue.server.allocations == {}
    assert dialogue.allocation.relayed == ()


def test_it_lives_for_hours_with_a_refresh_each_five_minutes() -> None:
    dialogue = started()

    dialogue.run(3 * 3600.0)

    assert dialogue.of(AllocationLost) == []
    assert len(dialogue.server.allocations) == 1
    assert dialogue.server.requests[Method.REFRESH] == 35
    least, most = 3 * 3600 / KEEPALIVE[1], 3 * 3600 / KEEPALIVE[0]
    assert least <= dialogue.server.requests[Method.BINDING] <= most + 1


def test_a_short_lifetime_is_heeded() -> None:
    dialogue = Dialogue(SimTurnServer())
    dialogue.server.lifetime = 60
    dialogue.connect()

    dialogue.run(600.0)

    assert dialogue.of(AllocationLost) == []
    assert dialogue.server.requests[Method.REFRESH] == 19


@pytest.mark.parametrize("lifetime", [0, 1, 29])
def test_a_server_that_grants_next_to_nothing_is_not_asked_without_end(lifetime: int) -> None:
    dialogue = Dialogue(SimTurnServer())
    dialogue.server.lifetime = lifetime
    dialogue.connect()

    dialogue.run(60.0)

    assert dialogue.of(Allocated) == []
    assert set(dialogue.of(AllocationRefused)) == {AllocationRefused(Trouble.FAULT)}
    # One each ten seconds, and a second where the server still keeps what it granted.
    assert dialogue.server.requests[Method.ALLOCATE] <= 2 * (1 + 60.0 / SOON)


def test_a_refresh_that_grants_nothing_does_not_have_us_allocate_without_end() -> None:
    dialogue = started()
    dialogue.server.lifetime = 0

    dialogue.run(400.0)

    assert dialogue.of(AllocationLost) == [AllocationLost(Trouble.FORGOTTEN)]
    assert len(dialogue.of(Allocated)) == 1
    assert dialogue.server.requests[Method.ALLOCATE] <= 2 * (1 + 100.0 / SOON)


def test_a_refresh_that_the_server_cannot_serve_is_tried_again_in_time() -> None:
    dialogue = started()
    dialogue.server.fail(Method.REFRESH, TurnError.INSUFFICIENT_CAPACITY, times=10)

    dialogue.run(1000.0)

    assert dialogue.of(AllocationLost) == []
    assert dialogue.server.refusals[TurnError.INSUFFICIENT_CAPACITY] == 10


def test_an_allocation_that_cannot_be_refreshed_ends_and_is_made_anew() -> None:
    dialogue = started()
    dialogue.server.fail(Method.REFRESH, TurnError.INSUFFICIENT_CAPACITY, times=20)

    dialogue.run(700.0)

    assert dialogue.of(AllocationLost) == [AllocationLost(Trouble.FORGOTTEN)]
    assert len(dialogue.of(Allocated)) == 2
