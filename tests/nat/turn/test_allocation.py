"""An allocation's life at a server that behaves, and at one that does not (RFC 8656)."""

import pickle
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.machine import Endpoint
from nat.stun import attributes
from nat.stun.attributes import Attribute
from nat.stun.wire import MessageClass, Method, encode
from nat.turn import message as turn
from nat.turn.allocation import DOUBT, KEEPALIVE, LAST_RETRY
from nat.turn.events import (
    Allocated,
    AllocationLost,
    AllocationRefused,
    ChannelBound,
    ChannelLost,
    Measured,
    Redirected,
    Relayed,
    Trouble,
)
from nat.turn.framing import is_channel_data, parse_channel_data
from nat.turn.message import TurnError
from nat.turn.refusals import LONG, MINUTE, SOON
from nat.turn.server import Login, SharedSecret, StaticCredentials, TurnServer, TurnTransport
from tests.support.network import endpoint
from tests.support.turn_client import RTT, Dialogue
from tests.support.turn_server import LOGIN, SimTurnServer

PEER = endpoint("198.51.100.2", 42000)
OTHER = endpoint("198.51.100.3", 43000)
V6_PEER = endpoint("2001:db8:2::2", 42000)
DUAL = ("203.0.113.50", "2001:db8:50::1")


def started(*ips: str, transport: TurnTransport = TurnTransport.UDP) -> Dialogue:
    """An allocation that stands, a second after the connection."""
    dialogue = Dialogue(SimTurnServer(*ips, padded=transport.reliable), transport=transport)
    dialogue.connect()
    dialogue.run(1.0)
    assert len(dialogue.of(Allocated)) == 1
    return dialogue


def bound(*ips: str, remote: Endpoint = PEER) -> Dialogue:
    """An allocation with a channel."""
    dialogue = started(*ips)
    dialogue.allocation.bind(remote, dialogue.now)
    dialogue.run(dialogue.now + RTT)
    assert [event.remote for event in dialogue.of(ChannelBound)] == [remote]
    return dialogue


# Allocating ----------------------------------------------------------------------------------


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


# Keeping it ----------------------------------------------------------------------------------


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


# Credentials ---------------------------------------------------------------------------------


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


# Refusals ------------------------------------------------------------------------------------


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
    # ALTERNATE-SERVER has the form of MAPPED-ADDRESS: family 1, port 3479, 203.0.113.51.
    address = (Attribute.ALTERNATE_SERVER, bytes((0, 1, 0x0D, 0x97, 203, 0, 113, 51)))
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
    dialogue = Dialogue(SimTurnServer(), transport=TurnTransport.TLS)
    values = [
        (Attribute.ALTERNATE_SERVER, bytes((0, 1, 0x0D, 0x97, 203, 0, 113, 51))),
        (Attribute.ALTERNATE_DOMAIN, domain.encode()),
    ]
    dialogue.server.fail(
        Method.ALLOCATE, TurnError.TRY_ALTERNATE, values=values, before_authentication=True
    )
    dialogue.connect()

    dialogue.run(1.0)

    assert dialogue.of(Redirected) == []
    assert dialogue.of(AllocationRefused) == [AllocationRefused(Trouble.UNSUPPORTED)]


def test_a_redirection_to_this_host_itself_is_not_followed() -> None:
    dialogue = Dialogue(SimTurnServer())
    address = (Attribute.ALTERNATE_SERVER, bytes((0, 1, 0x0D, 0x97, 127, 0, 0, 1)))
    dialogue.server.fail(
        Method.ALLOCATE, TurnError.TRY_ALTERNATE, values=[address], before_authentication=True
    )
    dialogue.connect()

    dialogue.run(1.0)

    assert dialogue.of(Redirected) == []
    assert dialogue.of(AllocationRefused) == [AllocationRefused(Trouble.UNSUPPORTED)]


def test_a_redirection_of_tls_without_a_name_is_not_followed() -> None:
    dialogue = Dialogue(SimTurnServer(), transport=TurnTransport.TLS)
    address = (Attribute.ALTERNATE_SERVER, bytes((0, 1, 0x0D, 0x97, 203, 0, 113, 51)))
    dialogue.server.fail(
        Method.ALLOCATE, TurnError.TRY_ALTERNATE, values=[address], before_authentication=True
    )
    dialogue.connect()

    dialogue.run(1.0)

    assert dialogue.of(Redirected) == []
    assert dialogue.of(AllocationRefused) == [AllocationRefused(Trouble.UNSUPPORTED)]


# A server that is away -----------------------------------------------------------------------


def test_a_request_over_udp_is_sent_seven_times_and_then_given_up() -> None:
    dialogue = Dialogue(SimTurnServer(), wanted=False)
    dialogue.server.silent = True
    dialogue.connect()

    dialogue.run(40.0)

    # RFC 8489 §6.2.1: RTO 500 ms, Rc 7, Rm 16.
    assert [at for at, _ in dialogue.frames[:7]] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert [at for at, e in dialogue.events if isinstance(e, AllocationRefused)] == [39.5]


@pytest.mark.parametrize("transport", [TurnTransport.TCP, TurnTransport.TLS])
def test_over_a_stream_nothing_is_sent_twice(transport: TurnTransport) -> None:
    dialogue = Dialogue(SimTurnServer(), transport=transport, wanted=False)
    dialogue.server.silent = True
    dialogue.reconnects = False
    dialogue.connect()

    dialogue.run(60.0)

    assert [at for at, _ in dialogue.frames] == [0.0]
    assert [at for at, e in dialogue.events if isinstance(e, AllocationRefused)] == [10.0]


def test_the_death_of_a_server_is_noticed_within_35_seconds() -> None:
    dialogue = bound()
    dialogue.server.silent = True

    dialogue.run(dialogue.now + 35.0)

    assert dialogue.of(AllocationLost) == [AllocationLost(Trouble.UNREACHABLE)]
    assert [event.remote for event in dialogue.of(ChannelLost)] == [PEER]


@pytest.mark.parametrize("away", [60.0, 3600.0])
def test_a_server_that_comes_back_is_used_again_within_a_minute(away: float) -> None:
    dialogue = bound()
    dialogue.server.silent = True
    dialogue.run(away)
    dialogue.server.restart()
    dialogue.server.silent = False

    dialogue.run(away + LAST_RETRY + 39.5)

    assert len(dialogue.of(Allocated)) == 2
    assert len(dialogue.of(ChannelBound)) == 2


def test_a_server_that_is_doubted_and_silent_is_connected_to_anew_at_once() -> None:
    dialogue = started()
    dialogue.server.silent = True

    dialogue.allocation.probe(dialogue.now)
    dialogue.run(1.0 + DOUBT - 0.01)
    assert dialogue.connections == 1

    dialogue.server.silent = False
    dialogue.run(1.0 + DOUBT + 5 * RTT)
    assert dialogue.connections == 2
    assert len(dialogue.of(Allocated)) == 2


def test_a_server_that_is_doubted_and_answers_is_kept() -> None:
    dialogue = started()

    dialogue.allocation.probe(dialogue.now)
    dialogue.run(60.0)

    assert dialogue.connections == 1
    assert len(dialogue.of(Allocated)) == 1
    assert dialogue.server.requests[Method.REFRESH] == 1


def test_an_agent_that_was_busy_reads_what_waits_before_it_doubts() -> None:
    dialogue = started()
    dialogue.allocation.probe(dialogue.now)

    # Its timers come before its sockets.
    dialogue.allocation.handle_timeout(dialogue.now + DOUBT + 1.0)
    dialogue.now += DOUBT + 1.0
    dialogue.run(60.0)

    assert dialogue.connections == 1
    assert len(dialogue.of(Allocated)) == 1


def test_an_allocation_that_another_mapping_does_not_have_is_made_anew_on_the_same_connection() -> (
    None
):
    dialogue = started()
    dialogue.server.allocations.clear()

    dialogue.allocation.suspect(dialogue.now)
    dialogue.run(dialogue.now + 3 * RTT)

    assert dialogue.connections == 1
    assert len(dialogue.of(Allocated)) == 2


def test_many_suspicions_are_one_question() -> None:
    dialogue = started()

    for step in range(10):
        dialogue.allocation.suspect(dialogue.now + 0.05 * step)
    dialogue.run(60.0)

    assert dialogue.server.requests[Method.REFRESH] == 1


def test_a_broken_connection_loses_everything_and_the_next_one_restores_it() -> None:
    dialogue = bound()

    dialogue.allocation.disconnected(dialogue.now)
    dialogue.run(5.0)
    assert dialogue.allocation.relayed == ()
    assert dialogue.of(AllocationLost) == [AllocationLost(Trouble.DISCONNECTED)]

    dialogue.connect()
    dialogue.run(6.0)
    assert len(dialogue.of(Allocated)) == 2
    assert len(dialogue.of(ChannelBound)) == 2


@pytest.mark.parametrize("seed", range(5))
def test_loss_delays_and_does_not_prevent(seed: int) -> None:
    rng = Random(seed)
    dialogue = Dialogue(SimTurnServer(), seed=seed)
    dialogue.loses = lambda frame: rng.random() < 0.3
    dialogue.connect()
    dialogue.allocation.bind(PEER, 0.0)

    dialogue.run(1800.0)

    assert dialogue.of(AllocationLost) == []
    assert len(dialogue.of(ChannelBound)) == 1


# Peers ---------------------------------------------------------------------------------------


def test_data_waits_for_its_permission_and_leaves_as_an_indication() -> None:
    dialogue = started()
    dialogue.allocation.permit(PEER.ip, dialogue.now)
    dialogue.allocation.send(PEER, b"first", dialogue.now)
    dialogue.allocation.send(PEER, b"second", dialogue.now)

    dialogue.run(dialogue.now + 2 * RTT)

    assert [(d.destination, d.payload) for _, d in dialogue.to_peers] == [(PEER, b"second")]
    assert dialogue.server.undelivered == 0


def test_data_to_who_is_not_permitted_does_not_leave() -> None:
    dialogue = started()
    dialogue.allocation.send(PEER, b"data", dialogue.now)

    dialogue.run(dialogue.now + 1.0)

    assert dialogue.to_peers == []
    assert dialogue.dropped == {"not permitted": 1}


def test_data_takes_the_channel_once_it_is_bound() -> None:
    dialogue = bound()
    dialogue.allocation.send(PEER, b"data", dialogue.now)
    dialogue.run(dialogue.now + RTT)
    dialogue.from_peer(PEER, b"answer")
    dialogue.run(dialogue.now + RTT)

    assert dialogue.server.channel_frames == 1
    assert dialogue.server.indications == 0
    assert [d.payload for _, d in dialogue.to_peers] == [b"data"]
    assert dialogue.of(Relayed) == [Relayed(PEER, dialogue.allocation.relayed[0], b"answer")]


def test_channel_data_is_padded_over_a_stream_only() -> None:
    for transport in (TurnTransport.UDP, TurnTransport.TCP):
        dialogue = started(transport=transport)
        dialogue.allocation.bind(PEER, dialogue.now)
        dialogue.run(dialogue.now + RTT)
        dialogue.allocation.send(PEER, b"12345", dialogue.now)
        dialogue.run(dialogue.now + RTT)

        frame = next(frame for _, frame in dialogue.frames if is_channel_data(frame))
        assert len(frame) == (12 if transport.reliable else 9)
        assert parse_channel_data(frame).payload == b"12345"


def test_data_of_a_peer_without_a_channel_comes_as_an_indication() -> None:
    dialogue = started()
    dialogue.allocation.permit(PEER.ip, dialogue.now)
    dialogue.run(2.0)

    dialogue.from_peer(PEER, b"hello")
    dialogue.run(3.0)

    assert dialogue.of(Relayed) == [Relayed(PEER, dialogue.allocation.relayed[0], b"hello")]


def test_each_family_has_its_own_relayed_address() -> None:
    dialogue = started(*DUAL)
    for remote in (PEER, V6_PEER):
        dialogue.allocation.bind(remote, dialogue.now)
    dialogue.run(2.0)
    for remote in (PEER, V6_PEER):
        dialogue.allocation.send(remote, b"data", dialogue.now)
    dialogue.run(3.0)

    assert [(d.source.ip.version, d.destination) for _, d in dialogue.to_peers] == [
        (4, PEER),
        (6, V6_PEER),
    ]
    assert [e.relayed.ip.version for e in dialogue.of(ChannelBound)] == [4, 6]


def test_a_family_that_was_not_allocated_drops() -> None:
    dialogue = started()
    dialogue.allocation.send(V6_PEER, b"data", dialogue.now)

    assert dialogue.dropped == {"no allocation of this family": 1}


def test_permissions_and_channels_outlive_their_lifetimes() -> None:
    dialogue = bound()
    dialogue.allocation.permit(OTHER.ip, dialogue.now)

    dialogue.run(2 * 3600.0)

    (allocation,) = dialogue.server.allocations.values()
    assert set(allocation.channels) == {PEER}
    assert set(allocation.permissions) == {PEER.ip, OTHER.ip}
    assert dialogue.of(ChannelLost) == []
    assert dialogue.server.violations == 0
    # Each 200 s, in two hours; the channel renews its permission.
    assert dialogue.server.requests[Method.CHANNEL_BIND] == 36
    assert dialogue.server.requests[Method.CREATE_PERMISSION] == 36


def test_many_permissions_are_refreshed_by_few_requests() -> None:
    dialogue = started()
    for last in range(1, 33):
        dialogue.allocation.permit(ip_address(f"198.51.100.{last}"), dialogue.now)
    dialogue.run(3.0)
    assert dialogue.server.requests[Method.CREATE_PERMISSION] == 32

    dialogue.run(300.0)

    assert dialogue.server.requests[Method.CREATE_PERMISSION] == 34


def test_an_address_that_is_forbidden_does_not_take_others_with_it() -> None:
    dialogue = started()
    dialogue.server.denied.add(OTHER.ip)
    for ip in (PEER.ip, OTHER.ip):
        dialogue.allocation.permit(ip, dialogue.now)
    dialogue.run(2.0)
    (allocation,) = dialogue.server.allocations.values()
    assert set(allocation.permissions) == {PEER.ip}

    # Granted once, refreshed together, and then one of them is forbidden.
    dialogue.server.denied = {PEER.ip}
    dialogue.run(602.0)
    assert set(allocation.permissions) == {OTHER.ip}
    assert dialogue.of(AllocationLost) == []


def test_a_peer_that_asks_for_a_forbidden_channel_gets_none() -> None:
    dialogue = started()
    dialogue.server.denied.add(PEER.ip)
    dialogue.allocation.bind(PEER, dialogue.now)

    dialogue.run(5.0)

    assert dialogue.of(ChannelBound) == []
    assert dialogue.server.requests[Method.CHANNEL_BIND] == 1


def test_a_channel_that_is_refused_later_is_lost() -> None:
    dialogue = bound()
    dialogue.server.denied.add(PEER.ip)

    dialogue.run(250.0)

    assert [event.remote for event in dialogue.of(ChannelLost)] == [PEER]


def test_a_number_that_the_server_calls_bad_is_replaced() -> None:
    dialogue = started()
    dialogue.server.fail(Method.CHANNEL_BIND, TurnError.BAD_REQUEST)
    dialogue.allocation.bind(PEER, dialogue.now)

    dialogue.run(10.0)

    assert [event.channel for event in dialogue.of(ChannelBound)] == [0x4001]


def test_a_peer_that_comes_back_gets_its_number_again() -> None:
    dialogue = bound()
    dialogue.allocation.unbind(PEER, dialogue.now)
    dialogue.allocation.bind(OTHER, dialogue.now)
    dialogue.run(100.0)
    dialogue.allocation.bind(PEER, dialogue.now)
    dialogue.run(101.0)

    assert [(e.remote, e.channel) for e in dialogue.of(ChannelBound)] == [
        (PEER, 0x4000),
        (OTHER, 0x4001),
        (PEER, 0x4000),
    ]
    assert dialogue.server.refusals[TurnError.BAD_REQUEST] == 0


def test_what_ended_while_the_machine_slept_is_asked_for_again_on_waking() -> None:
    dialogue = bound()
    dialogue.allocation.permit(OTHER.ip, dialogue.now)
    dialogue.run(10.0)
    (allocation,) = dialogue.server.allocations.values()
    # Six minutes of sleep: the server's clock went on, ours did not.
    allocation.permissions.clear()

    dialogue.allocation.probe(dialogue.now)
    dialogue.run(dialogue.now + 2 * RTT)

    assert set(allocation.permissions) == {PEER.ip, OTHER.ip}
    assert set(allocation.channels) == {PEER}
    assert dialogue.of(AllocationLost) == []
    assert dialogue.of(ChannelLost) == []


def test_what_is_not_wanted_is_not_refreshed() -> None:
    dialogue = bound()
    dialogue.allocation.permit(OTHER.ip, dialogue.now)
    dialogue.run(2.0)
    dialogue.allocation.unbind(PEER, dialogue.now)
    dialogue.allocation.forbid(OTHER.ip)

    dialogue.run(700.0)

    (allocation,) = dialogue.server.allocations.values()
    assert allocation.channels == {}
    assert allocation.permissions == {}


# Hostile input -------------------------------------------------------------------------------


def test_an_answer_with_a_wrong_integrity_changes_nothing() -> None:
    dialogue = started()
    dialogue.allocation.permit(PEER.ip, dialogue.now)
    (frame,) = dialogue.allocation.frames_to_send()
    request = turn.parse(frame)
    before = state(dialogue)
    for method_class in (MessageClass.SUCCESS, MessageClass.ERROR):
        values = [(Attribute.ERROR_CODE, attributes.error_code(437, "Allocation Mismatch"))]
        for key in (None, b"another key"):
            forged = encode(request.method, method_class, request.transaction_id, values, key)
            dialogue.allocation.receive(forged, dialogue.now)

    assert state(dialogue) == before


@pytest.mark.parametrize("code", [401, 438])
def test_a_success_that_poses_as_a_challenge_is_not_believed(code: int) -> None:
    dialogue = started()
    dialogue.allocation.permit(PEER.ip, dialogue.now)
    (frame,) = dialogue.allocation.frames_to_send()
    request = turn.parse(frame)
    before = state(dialogue)
    values = [(Attribute.ERROR_CODE, attributes.error_code(code, "whatever"))]

    forged = encode(request.method, MessageClass.SUCCESS, request.transaction_id, values)
    dialogue.allocation.receive(forged, dialogue.now)

    assert dialogue.dropped == {"answer that is not authentic": 1}
    assert state(dialogue) == before


def test_an_answer_to_nothing_changes_nothing() -> None:
    dialogue = bound()
    before = state(dialogue)
    for method in Method:
        for method_class in (MessageClass.SUCCESS, MessageClass.ERROR, MessageClass.REQUEST):
            frame = encode(method, method_class, bytes(12), [])
            dialogue.allocation.receive(frame, dialogue.now)

    assert state(dialogue) == before


def test_an_indication_of_who_is_not_permitted_is_dropped() -> None:
    dialogue = started()
    values = [*turn.peer_addresses([PEER], bytes(12)), (Attribute.DATA, b"data")]
    frame = encode(Method.DATA, MessageClass.INDICATION, bytes(12), values)

    dialogue.allocation.receive(frame, dialogue.now)

    assert dialogue.allocation.next_event() is None
    assert dialogue.dropped == {"data from nobody that we permitted": 1}


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=120), max_size=20))
def test_any_frames_are_survived(frames: list[bytes]) -> None:
    dialogue = bound()
    before = state(dialogue)
    for frame in frames:
        dialogue.allocation.receive(frame, dialogue.now)

    assert not dialogue.allocation.frames_to_send()
    assert state(dialogue) == before or any(is_channel_data(frame) for frame in frames)


def state(dialogue: Dialogue) -> bytes:
    """The whole state of an allocation but for what it counts as dropped."""
    dialogue.dropped.clear()
    return pickle.dumps(dialogue.allocation)


def test_the_login_is_not_in_any_representation() -> None:
    credentials = StaticCredentials(LOGIN.username, LOGIN.password)

    assert LOGIN.password not in repr((LOGIN, credentials))
