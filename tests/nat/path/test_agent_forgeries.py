"""What is not authentic changes nothing: forgeries, replays, noise."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.machine import Datagram
from nat.path.credentials import Role
from nat.stun.message import MAGIC_COOKIE, MessageClass, parse
from tests.support.network import endpoint
from tests.support.peers import credentials_of
from tests.support.scripted import (
    BASE,
    PEER_MAPPED,
    STRANGER,
    ScriptedPeer,
)

BOTH_ROLES = pytest.mark.parametrize("role", list(Role))


def forged(peer: ScriptedPeer, what: str) -> Datagram:
    """Datagrams of somebody who knows everything but the passwords, or replays what he saw."""
    request = peer.take(MessageClass.REQUEST)[-1]
    ours = credentials_of(peer.role)
    match what:
        case "check with another password":
            return peer.check(password="password-of-mallory", nomination=99)
        case "check with swapped credentials":
            return peer.check(password=ours.remote_password, nomination=99)
        case "check from a stranger with another password":
            return peer.check(source=STRANGER, password="guess", use_candidate=True)
        case "check for another pair of agents":
            return peer.check(username="ufrag-a:ufrag-m")
        case "check with our own name twice":
            return peer.check(username="ufrag-a:ufrag-a")
        case "our own check, sent back":
            return Datagram(request.destination, request.source, request.payload)
        case "answer with another password":
            return peer.answer(request, password="guess")
        case "answer with our own password":
            return peer.answer(request, password=ours.local_password)
        case "answer from another address":
            return peer.answer(request, source=STRANGER)
        case "answer to another address of ours":
            return peer.answer(request, base=endpoint("192.168.1.99"))
        case "answer to nothing":
            other = ScriptedPeer(seed=77).take(MessageClass.REQUEST)[0]
            return peer.answer(other)
        case _:
            raise AssertionError(what)


FORGERIES = [
    "check with another password",
    "check with swapped credentials",
    "check from a stranger with another password",
    "check for another pair of agents",
    "check with our own name twice",
    "our own check, sent back",
    "answer with another password",
    "answer with our own password",
    "answer from another address",
    "answer to another address of ours",
    "answer to nothing",
]


@BOTH_ROLES
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("what", FORGERIES)
def test_a_forgery_changes_nothing_and_is_not_answered(
    what: str, connected: bool, role: Role
) -> None:
    peer = ScriptedPeer(role)
    if connected:
        peer.validate(PEER_MAPPED)
        peer.agent.receive_datagram(peer.check(nomination=1), 0.0)
        peer.agent.network_changed(0.5)
    datagram = forged(peer, what)
    before = peer.state()

    peer.agent.receive_datagram(datagram, 0.6)

    assert peer.agent.ignored.total() == 1
    assert peer.state() == before
    assert peer.take() == []


def test_a_check_without_fingerprint_changes_nothing() -> None:
    peer = ScriptedPeer()
    peer.take()
    check = peer.check()
    bare = check.payload[:-8]
    bare = bare[:2] + struct.pack("!H", len(bare) - 20) + bare[4:]
    before = peer.state()

    peer.agent.receive_datagram(Datagram(check.source, check.destination, bare), 0.0)

    assert peer.state() == before
    assert peer.take() == []


def test_a_use_candidate_that_is_not_protected_is_not_seen() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    peer.validate(PEER_MAPPED)
    check = peer.check()
    body = check.payload[20:-8] + struct.pack("!HH", 0x0025, 0)
    payload = struct.pack("!HH", 0x0001, len(body)) + check.payload[4:20] + body
    forged_check = Datagram(check.source, check.destination, payload)

    peer.agent.receive_datagram(forged_check, 0.1)

    assert peer.agent.next_event() is None


@given(payload=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: stun_header(b) + b))
@settings(max_examples=200)
def test_any_bytes_change_nothing(payload: bytes) -> None:
    peer = ScriptedPeer()
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(Datagram(PEER_MAPPED, BASE, payload), 0.01)

    assert peer.state() == before
    assert peer.take() == []


def stun_header(body: bytes) -> bytes:
    return struct.pack("!HH", 0x0001, len(body)) + MAGIC_COOKIE + bytes(12)


@BOTH_ROLES
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_check_or_answer_with_a_changed_byte_changes_nothing(
    role: Role, data: st.DataObject
) -> None:
    peer = ScriptedPeer(role)
    request = peer.take(MessageClass.REQUEST)[0]
    datagram = data.draw(
        st.sampled_from([peer.check(nomination=3), peer.check(), peer.answer(request)])
    )
    # An answer need not have a FINGERPRINT: its last eight bytes protect nothing that counts.
    protected = len(datagram.payload) - (8 if datagram.payload[0] == 0x01 else 0)
    position = data.draw(st.integers(0, protected - 1))
    payload = bytearray(datagram.payload)
    payload[position] ^= data.draw(st.integers(1, 255))
    before = peer.state()

    peer.agent.receive_datagram(
        Datagram(datagram.source, datagram.destination, bytes(payload)), 0.01
    )

    assert peer.state() == before
    assert peer.take() == []


@BOTH_ROLES
def test_a_duplicate_check_is_answered_and_changes_nothing_else(role: Role) -> None:
    peer = ScriptedPeer(role)
    check = peer.check(nomination=4)
    peer.agent.receive_datagram(check, 0.0)
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(check, 0.01)

    assert peer.state() != before  # the answer waits to be sent, and that is all
    assert [parse(d.payload).message_class for d in peer.take()] == [MessageClass.SUCCESS]
    assert peer.state() == before


def test_a_replayed_nomination_from_elsewhere_makes_no_candidate() -> None:
    peer = ScriptedPeer(Role.CONTROLLED)
    check = peer.check(nomination=4)
    peer.agent.receive_datagram(check, 0.0)
    peer.take()

    peer.agent.receive_datagram(Datagram(STRANGER, BASE, check.payload), 0.01)

    assert [d.destination for d in peer.take()] == [STRANGER]
    assert len(peer.agent.report(0.01).pairs) == 2


def test_a_duplicate_answer_changes_nothing() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)
    answer = peer.answer(request)
    peer.agent.receive_datagram(answer, 0.1)
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(answer, 0.2)

    assert peer.state() == before


def test_an_answer_that_is_minutes_late_is_not_believed() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)

    peer.agent.receive_datagram(peer.answer(request), 60.0)

    assert peer.agent.report(60.0).path is None
