"""First handshakes on lines that lose datagrams: repeated, confirmed, and left alone in time."""

import pytest

from nat.path.credentials import Role
from sidecar.wireguard.changes import OpenPeer, UpdatePeer
from sidecar.wireguard.endpoint_rules import KEEPALIVE, EndpointRules
from sidecar.wireguard.first_handshake import (
    DELAY,
    INITIATION,
    REPEATS,
    RESPONSE,
    ROUND_TRIPS,
)
from tests.support.lossy_handshake import (
    PEER,
    REKEY_TIMEOUT,
    THERE,
    seconds_until_both_have_a_session,
)

from .test_endpoint_rules import state

AGAIN = OpenPeer(PEER, THERE, KEEPALIVE, again=True)
POKE = (UpdatePeer(PEER, None, 0), UpdatePeer(PEER, None, KEEPALIVE))

STARTS = 10_000

HELPED_SECONDS = 2.5
"""Within the 3 that a start may take on a bad line, with half a second to find the path."""


def opened(rtt: float | None = 0.02) -> EndpointRules:
    """A peer that has been opened at 0.0."""
    rules = EndpointRules(PEER, Role.CONTROLLING)
    rules.observe(state(None, keepalive=0), handshake_age=None, now=0.0)
    rules.select(THERE, rtt=rtt, now=0.0)
    assert rules.changes() == (OpenPeer(PEER, THERE, KEEPALIVE),)
    return rules


def test_no_start_of_ten_thousand_takes_long_though_one_in_25_loses_a_datagram_that_counts() -> (
    None
):
    seconds = sorted(seconds_until_both_have_a_session(seed) for seed in range(STARTS))

    assert seconds[-1] < HELPED_SECONDS
    assert sum(it > 0.5 for it in seconds) > STARTS // 25, "the line does lose them"


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_start_takes_a_handshake_s_time_if_nothing_is_lost_and_never_stops(loss: float) -> None:
    seconds = sorted(seconds_until_both_have_a_session(seed, loss=loss) for seed in range(1000))

    assert seconds[500] < 3 * 0.13
    assert sum(it > REKEY_TIMEOUT for it in seconds) <= 1000 * loss / 10


@pytest.mark.parametrize(("rtt", "delay"), [(None, DELAY), (0.02, DELAY), (0.4, 0.4 * ROUND_TRIPS)])
def test_a_handshake_without_an_answer_is_repeated_after_some_round_trips(
    rtt: float | None, delay: float
) -> None:
    rules = opened(rtt)

    for n in range(1, REPEATS + 1):
        assert rules.next_timeout() == pytest.approx(n * delay)
        rules.handle_timeout(n * delay - 0.01)
        assert rules.changes() == ()
        rules.handle_timeout(n * delay)
        assert rules.changes() == (AGAIN,)

    assert rules.next_timeout() is None, "from here on WireGuard's own timer does"


@pytest.mark.parametrize("crossing", [0, INITIATION])
def test_a_session_that_nobody_answers_is_poked_until_something_comes_in(crossing: int) -> None:
    """An initiation of the other side, which crossed ours, is no answer either."""
    rules = opened()
    response = state(THERE, rx_bytes=RESPONSE + crossing)
    rules.observe(response, handshake_age=0.0, now=0.1)

    for n in (1, 2):
        rules.handle_timeout(0.1 + n * DELAY)
        assert rules.changes() == POKE
    rules.observe(state(THERE, rx_bytes=RESPONSE + 32), handshake_age=1.0, now=1.2)
    rules.handle_timeout(5.0)

    assert rules.changes() == ()
    assert rules.next_timeout() is None


def test_what_has_no_end_is_not_poked_for_ever() -> None:
    rules = opened()
    rules.observe(state(THERE, rx_bytes=RESPONSE), handshake_age=0.0, now=0.1)

    for n in range(1, 20):
        rules.handle_timeout(0.1 + n * DELAY)

    assert len(rules.changes()) == len(POKE) * REPEATS


def test_an_answered_session_is_left_alone() -> None:
    rules = opened()
    rules.observe(state(THERE, rx_bytes=RESPONSE + 32), handshake_age=0.0, now=0.1)
    rules.handle_timeout(10.0)

    assert rules.changes() == ()


def test_so_is_one_that_the_other_side_has_begun() -> None:
    rules = opened()
    rules.observe(state(THERE, rx_bytes=INITIATION + 32), handshake_age=0.0, now=0.1)
    rules.handle_timeout(10.0)

    assert rules.changes() == ()


def test_a_peer_that_ever_had_a_session_is_not_begun_anew() -> None:
    """Its session may be alive although a clock says otherwise."""
    rules = opened()
    rules.observe(state(THERE, shaken=True), handshake_age=1e6, now=0.1)
    rules.handle_timeout(10.0)

    assert rules.changes() == ()


@pytest.mark.parametrize("role", [Role.CONTROLLED, None])
def test_only_the_side_that_opens_repeats_it(role: Role | None) -> None:
    rules = EndpointRules(PEER, role)
    rules.observe(state(None, keepalive=0), handshake_age=None, now=0.0)
    rules.select(THERE, rtt=0.02, now=0.0)
    for tenths in range(1, 100):
        rules.handle_timeout(tenths / 10)

    assert [change for change in rules.changes() if isinstance(change, OpenPeer)] == []


def test_another_path_before_there_is_a_session_is_opened_for_as_long() -> None:
    rules = opened()
    rules.select(THERE, rtt=0.4, now=0.2)
    rules.changes()

    assert rules.next_timeout() == pytest.approx(0.2 + 0.4 * ROUND_TRIPS)


def test_a_peer_that_is_gone_is_not_made_by_a_repetition() -> None:
    rules = opened()
    rules.observe(None, handshake_age=None, now=0.1)
    rules.handle_timeout(10.0)

    assert rules.changes() == ()
