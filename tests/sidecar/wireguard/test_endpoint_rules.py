"""The rules of design D6, one test each."""

from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest

from nat.machine import Endpoint
from nat.path.credentials import Role
from sidecar.identity import PublicKey
from sidecar.wireguard.changes import EndpointChange, OpenPeer, UpdatePeer
from sidecar.wireguard.device import PeerConfig, PeerState
from sidecar.wireguard.endpoint_rules import (
    FOLLOW_DELAY,
    HAND_OVER,
    HAND_OVER_MOST,
    KEEPALIVE,
    SESSION_LIFETIME,
    EndpointRules,
)

PEER = PublicKey(bytes(31) + b"\1")
FIRST = Endpoint(IPv4Address("198.51.100.1"), 4000)
SECOND = Endpoint(IPv4Address("198.51.100.2"), 5000)


def state(
    endpoint: Endpoint | None,
    keepalive: int = KEEPALIVE,
    *,
    rx_bytes: int = 0,
    shaken: bool = False,
) -> PeerState:
    return PeerState(
        config=PeerConfig(PEER, frozenset()),
        endpoint=endpoint,
        persistent_keepalive=keepalive,
        rx_bytes=rx_bytes,
        tx_bytes=0,
        last_handshake=datetime(2026, 1, 1, tzinfo=UTC) if shaken else None,
    )


def live_rules(role: Role | None, endpoint: Endpoint = FIRST) -> EndpointRules:
    rules = EndpointRules(PEER, role)
    rules.observe(state(endpoint), handshake_age=10.0, now=0.0)
    assert rules.changes() == ()
    return rules


def test_sets_nothing_before_a_pair_is_selected() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLING)
    rules.observe(state(None, keepalive=0), handshake_age=None, now=0.0)

    assert rules.changes() == ()
    assert rules.next_timeout() is None


@pytest.mark.parametrize(
    ("role", "opening"),
    [
        pytest.param(Role.CONTROLLING, OpenPeer(PEER, FIRST, KEEPALIVE), id="controlling"),
        pytest.param(None, UpdatePeer(PEER, FIRST, KEEPALIVE), id="legacy peer"),
    ],
)
def test_opens_at_once_with_endpoint_and_keepalive(
    role: Role | None, opening: EndpointChange
) -> None:
    rules = EndpointRules(PEER, role)

    rules.select(FIRST, rtt=0.02, now=0.0)

    assert rules.changes() == (opening,)


def test_the_controlled_side_waits_for_the_others_handshake() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLED)

    rules.select(FIRST, rtt=0.02, now=5.0)
    rules.handle_timeout(5.0 + FOLLOW_DELAY - 0.01)

    assert rules.changes() == ()
    assert rules.next_timeout() == 5.0 + FOLLOW_DELAY


def test_the_controlled_side_opens_after_three_round_trips_without_a_handshake() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLED)

    rules.select(FIRST, rtt=0.5, now=5.0)
    assert rules.next_timeout() == 6.5
    rules.handle_timeout(6.5)

    assert rules.changes() == (UpdatePeer(PEER, FIRST, KEEPALIVE),)
    assert rules.next_timeout() is None


def test_the_controlled_side_only_adds_the_keepalive_once_the_handshake_came_in() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLED)
    rules.select(FIRST, rtt=0.02, now=5.0)

    rules.observe(state(FIRST, keepalive=0), handshake_age=0.1, now=0.0)
    rules.handle_timeout(100.0)

    assert rules.changes() == (UpdatePeer(PEER, None, KEEPALIVE),)


def test_a_live_session_moves_at_once_and_the_controlling_side_pokes() -> None:
    rules = live_rules(Role.CONTROLLING)

    rules.select(SECOND, rtt=0.02, now=5.0)

    assert rules.changes() == (
        UpdatePeer(PEER, None, 0),
        UpdatePeer(PEER, SECOND, KEEPALIVE),
    )


def test_a_live_session_moves_at_once_on_the_controlled_side_without_a_poke() -> None:
    rules = live_rules(Role.CONTROLLED)

    rules.select(SECOND, rtt=0.02, now=5.0)

    assert rules.changes() == (UpdatePeer(PEER, SECOND, None),)


@pytest.mark.parametrize("role", [Role.CONTROLLING, Role.CONTROLLED])
def test_an_adopted_session_on_the_selected_endpoint_is_not_touched(role: Role) -> None:
    rules = live_rules(role)

    rules.select(FIRST, rtt=0.02, now=5.0)

    assert rules.changes() == ()


def test_a_session_that_is_too_old_is_opened_anew() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLING)
    rules.observe(state(FIRST), handshake_age=SESSION_LIFETIME, now=0.0)

    rules.select(FIRST, rtt=None, now=5.0)

    assert rules.changes() == (
        UpdatePeer(PEER, None, 0),
        UpdatePeer(PEER, FIRST, KEEPALIVE),
    )


def test_reasserts_the_selected_endpoint_after_the_kernel_roamed() -> None:
    rules = live_rules(Role.CONTROLLED)
    rules.select(FIRST, rtt=None, now=5.0)
    rules.observe(state(SECOND), handshake_age=11.0, now=0.0)

    rules.reassert(1.0)
    rules.reassert(1.0)

    assert rules.changes() == (UpdatePeer(PEER, FIRST, None),)


def test_a_peer_that_vanished_is_opened_like_a_new_one() -> None:
    rules = live_rules(Role.CONTROLLING)

    rules.observe(None, handshake_age=None, now=0.0)
    rules.select(FIRST, rtt=None, now=5.0)

    assert rules.changes() == (OpenPeer(PEER, FIRST, KEEPALIVE),)


@pytest.mark.parametrize(
    ("role", "opening"),
    [
        (Role.CONTROLLING, OpenPeer(PEER, FIRST, KEEPALIVE)),
        (Role.CONTROLLED, UpdatePeer(PEER, FIRST, KEEPALIVE)),
    ],
)
def test_an_endpoint_that_is_gone_is_opened_again_at_once_by_either_side(
    role: Role, opening: EndpointChange
) -> None:
    rules = live_rules(role)
    rules.select(FIRST, rtt=0.05, now=0.0)
    assert rules.changes() == ()

    rules.observe(state(None, keepalive=0), handshake_age=None, now=0.0)
    assert rules.changes() == (opening,)

    rules.observe(state(FIRST), handshake_age=None, now=0.0)
    assert rules.changes() == ()


def test_a_legacy_peer_that_was_announced_before_wireguard_had_it_is_opened_once_it_has() -> None:
    rules = EndpointRules(PEER, role=None)
    rules.select(FIRST, rtt=None, now=0.0)
    rules.changes()

    rules.observe(None, handshake_age=None, now=1.0)
    rules.observe(state(None, keepalive=0), handshake_age=None, now=2.0)
    assert rules.changes() == (UpdatePeer(PEER, FIRST, KEEPALIVE),)

    rules.observe(state(FIRST), handshake_age=None, now=3.0)
    assert rules.changes() == ()


@pytest.mark.parametrize("role", [Role.CONTROLLING, Role.CONTROLLED, None])
def test_a_peer_that_was_made_anew_without_its_endpoint_is_opened_again(role: Role | None) -> None:
    rules = live_rules(role)
    rules.select(FIRST, rtt=0.05, now=0.0)
    rules.changes()

    rules.observe(None, handshake_age=None, now=1.0)
    rules.observe(state(None, keepalive=0), handshake_age=None, now=2.0)

    (change,) = rules.changes()
    assert change.endpoint == FIRST


def test_an_endpoint_that_was_not_set_yet_is_not_gone() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLING)
    rules.observe(state(None, keepalive=0), handshake_age=None, now=0.0)
    rules.select(FIRST, rtt=None, now=0.0)
    assert len(rules.changes()) == 1

    # A look that was under way when it was asked for.
    rules.observe(state(None, keepalive=0), handshake_age=None, now=0.0)

    assert rules.changes() == ()


# Hand-over: the kernel follows what comes late by the old path -------------------------------


@pytest.mark.parametrize("role", [Role.CONTROLLING, Role.CONTROLLED])
def test_an_endpoint_that_the_kernel_follows_back_is_set_again_for_a_second(role: Role) -> None:
    rules = moved_rules(role)

    rules.observe(state(FIRST), handshake_age=10.0, now=5.0)
    assert rules.changes() == (UpdatePeer(PEER, SECOND),)
    assert rules.handing_over

    rules.handle_timeout(5.0 + HAND_OVER)
    rules.observe(state(FIRST), handshake_age=10.0, now=5.0)
    assert rules.changes() == ()
    assert not rules.handing_over


def test_an_endpoint_is_set_again_as_soon_as_late_data_has_been_delivered() -> None:
    rules = moved_rules(Role.CONTROLLED)

    for _ in range(3):
        rules.note_late()
        assert rules.changes() == (UpdatePeer(PEER, SECOND),)

    rules.handle_timeout(5.0 + HAND_OVER)
    rules.note_late()
    assert rules.changes() == ()


def test_a_hand_over_ends_by_a_timer() -> None:
    rules = moved_rules(Role.CONTROLLED)

    assert rules.next_timeout() == 5.0 + HAND_OVER

    rules.handle_timeout(5.0 + HAND_OVER)
    assert rules.next_timeout() is None


def test_a_hand_over_lasts_for_a_second_from_when_the_endpoint_has_been_set() -> None:
    rules = live_rules(Role.CONTROLLED)
    rules.select(FIRST, rtt=0.02, now=0.0)
    rules.select(SECOND, rtt=0.02, now=5.0)
    rules.changes()

    # A busy host sets it so much later, and sees that in the next look.
    rules.observe(state(FIRST), handshake_age=10.0, now=6.5)
    rules.changes()
    rules.observe(state(SECOND), handshake_age=10.0, now=6.8)
    rules.handle_timeout(6.8 + HAND_OVER - 0.01)
    rules.observe(state(FIRST), handshake_age=10.0, now=6.8 + HAND_OVER - 0.01)

    assert rules.changes() == (UpdatePeer(PEER, SECOND),)
    assert rules.next_timeout() == 6.8 + HAND_OVER


def test_a_hand_over_ends_even_if_the_endpoint_is_never_seen_there() -> None:
    rules = live_rules(Role.CONTROLLED)
    rules.select(FIRST, rtt=0.02, now=0.0)
    rules.select(SECOND, rtt=0.02, now=5.0)

    assert rules.next_timeout() == 5.0 + HAND_OVER_MOST
    rules.handle_timeout(5.0 + HAND_OVER_MOST)
    rules.changes()
    rules.observe(state(FIRST), handshake_age=10.0, now=5.0 + HAND_OVER_MOST)

    assert rules.changes() == ()


def test_the_kernel_is_followed_back_while_the_new_path_is_in_doubt() -> None:
    rules = moved_rules(Role.CONTROLLED)

    rules.doubt()
    rules.observe(state(FIRST), handshake_age=10.0, now=5.1)
    rules.note_late()

    assert rules.changes() == ()
    assert not rules.handing_over


def test_doubts_do_not_lead_back_to_a_relay() -> None:
    rules = moved_rules(Role.CONTROLLED, upgrade=True)

    rules.doubt()
    rules.note_late()

    assert rules.changes() == (UpdatePeer(PEER, SECOND),)


def test_a_first_endpoint_is_no_hand_over() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLING)

    rules.select(FIRST, rtt=0.02, now=5.0)

    assert not rules.handing_over


def test_a_session_that_begins_by_the_old_path_is_moved_to_the_new_one() -> None:
    rules = EndpointRules(PEER, Role.CONTROLLING)
    rules.select(FIRST, rtt=0.02, now=5.0)
    rules.select(SECOND, rtt=0.02, now=5.1)
    rules.changes()

    rules.observe(state(FIRST), handshake_age=0.0, now=5.0)

    assert rules.changes() == (UpdatePeer(PEER, SECOND),)


def moved_rules(role: Role, *, upgrade: bool = False) -> EndpointRules:
    """A live session whose path has just changed, at 5.0."""
    rules = EndpointRules(PEER, role)
    rules.observe(state(FIRST), handshake_age=10.0, now=0.0)
    rules.select(FIRST, rtt=0.02, now=0.0)
    rules.select(SECOND, rtt=0.02, now=5.0, upgrade=upgrade)
    assert rules.changes()
    rules.observe(state(SECOND), handshake_age=10.0, now=5.0)
    assert rules.changes() == ()
    return rules
