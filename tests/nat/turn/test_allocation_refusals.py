"""Error responses to an allocation, and redirections (RFC 8656 §7.4, RFC 8489 §10)."""

import pytest

from nat.stun.attributes import Attribute
from nat.stun.wire import Method
from nat.turn.events import (
    Allocated,
    AllocationLost,
    AllocationRefused,
    ChannelBound,
    ChannelLost,
    Redirected,
    Trouble,
)
from nat.turn.message import TurnError
from nat.turn.refusals import LONG, MINUTE, SOON
from nat.turn.server import TurnServer, TurnTransport
from tests.support.turn_client import OTHER, PEER, RTT, Dialogue, bound
from tests.support.turn_server import SimTurnServer

PUBLIC, LOOPBACK = (
    bytes((0, 1, 0x0D, 0x97, 203, 0, 113, 51)),
    bytes((0, 1, 0x0D, 0x97, 127, 0, 0, 1)),
)
"""Values of ALTERNATE-SERVER, in the form of MAPPED-ADDRESS: IPv4, port 3479, an address."""


@pytest.mark.parametrize(
    ("code", "trouble", "pause"),
    [
        (TurnError.FORBIDDEN, Trouble.FORBIDDEN, LONG),
        (TurnError.TRANSPORT_NOT_SUPPORTED, Trouble.UNSUPPORTED, LONG),
        (TurnError.QUOTA_REACHED, Trouble.QUOTA, MINUTE),
        (TurnError.INSUFFICIENT_CAPACITY, Trouble.CAPACITY, MINUTE),
        (TurnError.SERVER_ERROR, Trouble.FAULT, SOON),
        (TurnError.WRONG_CREDENTIALS, Trouble.CREDENTIALS, MINUTE),
    ],
)
def test_a_refused_allocation_is_said_and_asked_for_again_in_due_time(
    code: TurnError, trouble: Trouble, pause: float
) -> None:
    dialogue = Dialogue(SimTurnServer())
    dialogue.server.fail(Method.ALLOCATE, code)
    dialogue.connect()

    dialogue.run(pause)
    assert dialogue.of(AllocationRefused) == [AllocationRefused(trouble)]
    assert dialogue.of(Allocated) == []

    dialogue.run(pause + 1.0)
    assert len(dialogue.of(Allocated)) == 1


def test_an_allocation_mismatch_needs_another_connection() -> None:
    dialogue = Dialogue(SimTurnServer())
    dialogue.server.fail(Method.ALLOCATE, TurnError.ALLOCATION_MISMATCH)
    dialogue.connect()

    dialogue.run(10.0)

    assert dialogue.connections == 2
    assert len(dialogue.of(Allocated)) == 1


def test_a_server_that_forgot_the_allocation_is_asked_for_everything_again_at_once() -> None:
    dialogue = bound()
    dialogue.allocation.permit(OTHER.ip, dialogue.now)
    dialogue.run(30.0)
    dialogue.server.restart()

    dialogue.run(350.0)

    (lost,) = [at for at, event in dialogue.events if isinstance(event, AllocationLost)]
    assert dialogue.of(AllocationLost) == [AllocationLost(Trouble.FORGOTTEN)]
    again = [at for at, event in dialogue.events if isinstance(event, ChannelBound)][1]
    assert again - lost == pytest.approx(2 * RTT)
    (allocation,) = dialogue.server.allocations.values()
    assert {PEER.ip, OTHER.ip} == set(allocation.permissions)
    assert [event.remote for event in dialogue.of(ChannelLost)] == [PEER]
    assert dialogue.connections == 1


@pytest.mark.parametrize("transport", [TurnTransport.UDP, TurnTransport.TLS])
def test_a_redirection_is_told_to_the_owner(transport: TurnTransport) -> None:
    dialogue = Dialogue(SimTurnServer(), transport=transport)
    domain = (Attribute.ALTERNATE_DOMAIN, b"other.example.org")
    address = (Attribute.ALTERNATE_SERVER, PUBLIC)
    named = transport is TurnTransport.TLS
    dialogue.server.fail(
        Method.ALLOCATE,
        TurnError.TRY_ALTERNATE,
        values=[address, *([domain] if named else [])],
        before_authentication=True,
    )
    dialogue.connect()

    dialogue.run(1.0)

    (event,) = dialogue.of(Redirected)
    host = "other.example.org" if named else "203.0.113.51"
    assert event.server == TurnServer(host, 3479, transport, event.server.credentials)


@pytest.mark.parametrize(
    "domain", ["", ".", ".org", "a..org", "a" * 64 + ".org", "a\0.org", "ä.org"]
)
def test_a_redirection_to_what_is_no_name_is_not_followed(domain: str) -> None:
    named = (Attribute.ALTERNATE_DOMAIN, domain.encode())

    assert_not_followed(TurnTransport.TLS, [(Attribute.ALTERNATE_SERVER, PUBLIC), named])


def test_a_redirection_to_this_host_itself_is_not_followed() -> None:
    assert_not_followed(TurnTransport.UDP, [(Attribute.ALTERNATE_SERVER, LOOPBACK)])


def test_a_redirection_of_tls_without_a_name_is_not_followed() -> None:
    assert_not_followed(TurnTransport.TLS, [(Attribute.ALTERNATE_SERVER, PUBLIC)])


def assert_not_followed(transport: TurnTransport, values: list[tuple[Attribute, bytes]]) -> None:
    dialogue = Dialogue(SimTurnServer(), transport=transport)
    dialogue.server.fail(
        Method.ALLOCATE, TurnError.TRY_ALTERNATE, values=values, before_authentication=True
    )
    dialogue.connect()

    dialogue.run(1.0)

    assert dialogue.of(Redirected) == []
    assert dialogue.of(AllocationRefused) == [AllocationRefused(Trouble.UNSUPPORTED)]
