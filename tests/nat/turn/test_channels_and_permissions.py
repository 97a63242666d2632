"""Permissions and channels: asked for, refreshed, refused, let go (RFC 8656 §9, §12)."""

from ipaddress import ip_address

from nat.stun.wire import Method
from nat.turn.events import (
    AllocationLost,
    ChannelBound,
    ChannelLost,
)
from nat.turn.message import TurnError
from tests.support.turn_client import (
    OTHER,
    PEER,
    RTT,
    bound,
    started,
)


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
