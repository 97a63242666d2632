"""Who an allocation is to its server: challenges, realms, logins (RFC 8489 §9.2)."""

from nat.stun.wire import Method
from nat.turn.events import (
    Allocated,
    AllocationLost,
    AllocationRefused,
    Trouble,
)
from nat.turn.message import TurnError
from nat.turn.refusals import MINUTE
from nat.turn.server import Login, SharedSecret, StaticCredentials, TurnServer, TurnTransport
from tests.support.turn_client import PEER, RTT, Dialogue, started
from tests.support.turn_server import LOGIN, SimTurnServer


def test_a_stale_nonce_costs_a_round_trip_and_nothing_else() -> None:
    dialogue = started()
    dialogue.server.change_nonce()
    dialogue.allocation.permit(PEER.ip, dialogue.now)

    dialogue.run(dialogue.now + 2 * RTT)

    assert dialogue.server.refusals[TurnError.STALE_NONCE] == 1
    assert PEER.ip in next(iter(dialogue.server.allocations.values())).permissions
    assert dialogue.of(AllocationLost) == []


def test_a_changed_realm_is_followed() -> None:
    dialogue = started()
    dialogue.server.realm = "elsewhere.example.org"
    dialogue.allocation.permit(PEER.ip, dialogue.now)

    dialogue.run(dialogue.now + 2 * RTT)

    assert PEER.ip in next(iter(dialogue.server.allocations.values())).permissions
    assert dialogue.of(AllocationLost) == []


def test_wrong_credentials_are_said_and_tried_again_after_a_minute() -> None:
    dialogue = Dialogue(SimTurnServer(), credentials=StaticCredentials("user", "wrong"))
    dialogue.connect()

    dialogue.run(MINUTE - 1.0)

    assert dialogue.of(AllocationRefused) == [AllocationRefused(Trouble.CREDENTIALS)]
    assert dialogue.server.requests[Method.ALLOCATE] == 2

    dialogue.server.login = Login("user", "wrong")
    dialogue.run(MINUTE + 1.0)

    assert len(dialogue.of(Allocated)) == 1


def test_a_server_that_asks_for_credentials_that_we_lack_is_refused() -> None:
    dialogue = Dialogue(SimTurnServer(), credentials=None)
    dialogue.connect()

    dialogue.run(1.0)

    assert dialogue.of(AllocationRefused) == [AllocationRefused(Trouble.CREDENTIALS)]
    assert dialogue.server.requests[Method.ALLOCATE] == 1


def test_a_time_limited_login_is_the_hmac_of_its_expiry_and_name() -> None:
    credentials = SharedSecret("north", "kbwg", wall=lambda: 1_000_000.5)

    # printf 1086400:kbwg | openssl dgst -sha1 -hmac north -binary | base64
    assert credentials.login() == Login("1086400:kbwg", "IyGtLRMlXOE0WPjo5vX6VSij258=")
    assert "north" not in repr(TurnServer("h", 1, TurnTransport.UDP, credentials))


def test_a_login_that_has_ended_is_made_out_anew() -> None:
    wall = [1_000_000.0]
    credentials = SharedSecret("north", "kbwg", wall=lambda: wall[0])
    server = SimTurnServer(login=credentials.login())
    dialogue = Dialogue(server, credentials=credentials)
    dialogue.connect()
    dialogue.run(1.0)
    wall[0] += 90_000.0
    server.login = credentials.login()

    dialogue.run(700.0)

    assert [event.reason for event in dialogue.of(AllocationLost)] == [Trouble.CREDENTIALS]
    assert len(dialogue.of(Allocated)) == 2


def test_the_login_is_not_in_any_representation() -> None:
    credentials = StaticCredentials(LOGIN.username, LOGIN.password)

    assert LOGIN.password not in repr((LOGIN, credentials))
