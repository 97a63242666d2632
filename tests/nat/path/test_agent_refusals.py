"""What an agent answers to checks that it cannot heed: 400, 420, 487 (RFC 8445 §7.3)."""

import struct

import pytest
from aioice import stun as codec

from nat.machine import Datagram
from nat.path.credentials import Role
from nat.stun.message import MessageClass, parse
from tests.support.scripted import (
    BASE,
    PEER_MAPPED,
    ScriptedPeer,
)

BOTH_ROLES = pytest.mark.parametrize("role", list(Role))


@BOTH_ROLES
@pytest.mark.parametrize("tie_breaker", [0, 1, 2**63, 2**64 - 1])
def test_a_role_conflict_is_answered_with_487_and_roles_never_switch(
    role: Role, tie_breaker: int
) -> None:
    peer = ScriptedPeer(role)
    peer.take()
    before = peer.state()

    conflicting = peer.check(controlling=role is Role.CONTROLLING, tie_breaker=tie_breaker)
    peer.agent.receive_datagram(conflicting, 0.01)

    (answer,) = peer.take()
    message = parse(answer.payload)
    assert (message.message_class, message.error_code) == (MessageClass.ERROR, 487)
    assert message.is_authentic(
        "password-of-a" * 2 if role is Role.CONTROLLING else "password-of-b" * 2
    )
    assert (answer.source, answer.destination) == (BASE, PEER_MAPPED)
    assert peer.state() == before


def test_an_error_answers_a_check_but_makes_nothing_valid() -> None:
    peer = ScriptedPeer()
    (request,) = peer.checks_of(PEER_MAPPED)
    conflict = ScriptedPeer(Role.CONTROLLED)
    conflict.take()
    refused = Datagram(PEER_MAPPED, BASE, request.payload)
    conflict.agent.receive_datagram(refused, 0.0)
    assert conflict.take(MessageClass.ERROR) == []

    assert peer.agent.report(0.0).path is None


@pytest.mark.parametrize(
    ("drop", "error"), [(0x0024, 400), (0x8029, 400)], ids=["PRIORITY", "role"]
)
def test_an_authentic_check_that_lacks_an_attribute_is_answered_with_400(
    drop: int, error: int
) -> None:
    peer = ScriptedPeer()
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(resigned(peer.check(), drop=drop), 0.0)

    (answer,) = peer.take()
    assert parse(answer.payload).error_code == error
    assert peer.state() == before


def test_an_unknown_required_attribute_is_answered_with_420_that_names_it() -> None:
    peer = ScriptedPeer()
    peer.take()
    before = peer.state()

    peer.agent.receive_datagram(resigned(peer.check(), add=(0x7777, b"what?")), 0.0)

    (answer,) = peer.take()
    assert parse(answer.payload).error_code == 420
    assert struct.pack("!HHH", 0x000A, 2, 0x7777) in answer.payload
    assert peer.state() == before


def resigned(
    check: Datagram, *, drop: int | None = None, add: tuple[int, bytes] | None = None
) -> Datagram:
    """A check of the peer with other attributes, properly signed."""
    source = check.payload
    position, body = 20, b""
    while position < len(source):
        kind, size = struct.unpack_from("!HH", source, position)
        end = position + 4 + size + codec.padding_length(size)
        if kind not in (drop, 0x0008, 0x8028):
            body += source[position:end]
        position = end
    if add is not None:
        body += struct.pack("!HH", add[0], len(add[1])) + add[1] + bytes(-len(add[1]) % 4)
    message = struct.pack("!HH", 0x0001, len(body)) + source[4:20] + body
    digest = codec.message_integrity(message, b"password-of-a" * 2)
    message += struct.pack("!HH", 0x0008, 20) + digest
    message += struct.pack("!HHI", 0x8028, 4, codec.message_fingerprint(message))
    return Datagram(
        check.source, check.destination, codec.set_body_length(message, len(message) - 20)
    )
