"""Checks that came in before their peer was known."""

from random import Random

import pytest

from nat.early import KEEP_FOR, MAX_KEPT, EarlyChecks
from nat.gathering import HostAddress
from nat.machine import Datagram
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PeerId
from nat.stun.message import parse
from nat.traversal import Traversal
from tests.support.scripted import BASE, STRANGER, ScriptedPeer


def keep(early: EarlyChecks, datagram: Datagram, now: float) -> None:
    early.keep(parse(datagram.payload), datagram, now)


def test_the_newest_check_of_each_address_is_kept_for_half_a_minute() -> None:
    peer, early = ScriptedPeer(), EarlyChecks()
    old, new, other = peer.check(), peer.check(), peer.check(source=STRANGER)
    for at, datagram in enumerate((old, new, other)):
        keep(early, datagram, float(at))

    taken = early.take("ufrag-a", KEEP_FOR)

    assert [kept.datagram for kept in taken] == [new, other]
    assert early.take("ufrag-a", KEEP_FOR) == []


def test_an_old_check_is_not_worth_anything() -> None:
    peer, early = ScriptedPeer(), EarlyChecks()
    keep(early, peer.check(), 0.0)

    assert early.take("ufrag-a", KEEP_FOR + 0.1) == []


def test_what_came_for_others_stays() -> None:
    peer, early = ScriptedPeer(), EarlyChecks()
    keep(early, peer.check(), 0.0)

    assert early.take("ufrag-z", 1.0) == []
    assert len(early.take("ufrag-a", 1.0)) == 1


def test_memory_is_bounded() -> None:
    peer, early = ScriptedPeer(), EarlyChecks()
    for i in range(10 * MAX_KEPT):
        keep(early, peer.check(source=STRANGER.__class__(STRANGER.ip, i + 1)), 0.0)

    ports = [kept.datagram.source.port for kept in early.take("ufrag-a", 1.0)]

    assert ports == list(range(9 * MAX_KEPT + 1, 10 * MAX_KEPT + 1))


@pytest.mark.parametrize("forged", [False, True])
def test_only_an_authentic_early_check_is_learned_from(forged: bool) -> None:
    peer = ScriptedPeer()
    traversal = Traversal(rng=Random(1), now=0.0)
    traversal.set_host_addresses([HostAddress(BASE, "eth0")], 0.0)
    check = peer.check(source=STRANGER, password="guess" if forged else None)
    traversal.receive_datagram(check, 0.0)
    assert traversal.datagrams_to_send() == []

    traversal.add_peer(
        PeerId("b"),
        credentials=IceCredentials("ufrag-a", "password-of-a" * 2, "ufrag-b", "password-of-b" * 2),
        role=Role.CONTROLLING,
        now=10.0,
    )

    sent = [datagram.destination for datagram in traversal.datagrams_to_send()]
    assert sent == ([] if forged else [STRANGER])
