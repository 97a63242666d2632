"""A server that is away, doubted, restarted or hardly reachable."""

from random import Random

import pytest

from nat.stun.wire import Method
from nat.turn.allocation import LAST_RETRY
from nat.turn.doubt import JUST_ASKED, PATIENCE
from nat.turn.events import (
    Allocated,
    AllocationLost,
    AllocationRefused,
    ChannelBound,
    ChannelLost,
    Trouble,
)
from nat.turn.server import TurnTransport
from tests.support.turn_client import PEER, RTT, Dialogue, bound, started
from tests.support.turn_server import SimTurnServer


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
    dialogue.run(1.0 + PATIENCE - 0.01)
    assert dialogue.connections == 1

    dialogue.server.silent = False
    dialogue.run(1.0 + PATIENCE + 5 * RTT)
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
    dialogue.allocation.handle_timeout(dialogue.now + PATIENCE + 1.0)
    dialogue.now += PATIENCE + 1.0
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


def test_many_suspicions_are_one_question_and_one_more_when_they_are_over() -> None:
    dialogue = started()

    for step in range(10):
        dialogue.allocation.suspect(dialogue.now + 0.05 * step)
    dialogue.run(60.0)

    assert dialogue.server.requests[Method.REFRESH] == 2


def test_a_restart_just_after_the_server_was_asked_is_noticed_a_second_later() -> None:
    dialogue = started()
    dialogue.allocation.probe(dialogue.now)
    dialogue.run(dialogue.now + 0.4)

    dialogue.server.restart()
    dialogue.allocation.suspect(dialogue.now)
    dialogue.run(dialogue.now + JUST_ASKED + 3 * RTT)

    assert len(dialogue.of(Allocated)) == 2
    assert dialogue.connections == 1


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
