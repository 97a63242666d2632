"""Nominations, with and without numbers, in whatever order they arrive."""

import pytest

from nat.machine import Endpoint
from nat.path.credentials import Role
from nat.stun.message import MessageClass, parse
from tests.support.scripted import (
    PEER_HOST,
    PEER_MAPPED,
    ScriptedPeer,
)


def test_without_numbers_the_highest_nominated_pair_wins() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    for remote in (PEER_MAPPED, PEER_HOST):
        peer.validate(remote)

    peer.agent.receive_datagram(peer.check(PEER_HOST, use_candidate=True), 0.1)
    peer.agent.receive_datagram(peer.check(PEER_MAPPED, use_candidate=True), 0.2)

    path = peer.agent.report(0.2).path
    assert path is not None
    assert path.remote.endpoint == PEER_HOST


def test_once_a_number_was_seen_plain_nominations_do_not_count() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    for remote in (PEER_MAPPED, PEER_HOST):
        peer.validate(remote)

    peer.agent.receive_datagram(peer.check(PEER_MAPPED, nomination=1), 0.1)
    peer.agent.receive_datagram(peer.check(PEER_HOST, use_candidate=True), 0.2)

    path = peer.agent.report(0.2).path
    assert path is not None
    assert path.remote.endpoint == PEER_MAPPED


@pytest.mark.parametrize(
    ("order", "followed"),
    [
        ([(PEER_HOST, 1), (PEER_MAPPED, 2)], PEER_MAPPED),
        ([(PEER_MAPPED, 2), (PEER_HOST, 1)], PEER_MAPPED),
        ([(PEER_MAPPED, 2), (PEER_MAPPED, 2), (PEER_HOST, 1), (PEER_HOST, 1)], PEER_MAPPED),
        ([(PEER_HOST, 5), (PEER_MAPPED, 4), (PEER_HOST, 3), (PEER_MAPPED, 6)], PEER_MAPPED),
        ([(PEER_HOST, 2**24 - 1), (PEER_MAPPED, 1)], PEER_HOST),
    ],
    ids=["in order", "late", "duplicated", "reordered", "highest possible"],
)
def test_the_highest_nomination_wins_in_whatever_order_they_arrive(
    order: list[tuple[Endpoint, int]], followed: Endpoint
) -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    for remote in (PEER_MAPPED, PEER_HOST):
        peer.validate(remote)

    for i, (remote, number) in enumerate(order):
        peer.agent.receive_datagram(peer.check(remote, nomination=number), 0.1 + i / 100)

    path = peer.agent.report(1.0).path
    assert path is not None
    assert path.remote.endpoint == followed


def test_answers_tell_the_nomination_that_is_followed() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    peer.take()

    peer.agent.receive_datagram(peer.check(nomination=7), 0.0)
    peer.agent.receive_datagram(peer.check(PEER_HOST, nomination=5), 0.0)

    assert [parse(d.payload).nomination for d in peer.take(MessageClass.SUCCESS)] == [7, 7]


def test_a_restarted_controlling_side_continues_above_what_the_peer_has_seen() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)
    peer.agent.receive_datagram(peer.answer(request), 0.0)
    (nominating,) = peer.checks_of(PEER_MAPPED)
    assert parse(nominating.payload).nomination == 1

    peer.agent.receive_datagram(peer.answer(nominating, nomination=41), 0.1)

    (renominating,) = peer.checks_of(PEER_MAPPED)
    assert parse(renominating.payload).nomination == 42
