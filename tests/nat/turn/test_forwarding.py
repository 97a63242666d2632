"""Data to and from peers, as indications and by channels (RFC 8656 §11, §12)."""

from nat.turn.events import (
    ChannelBound,
    Relayed,
)
from nat.turn.framing import is_channel_data, parse_channel_data
from nat.turn.server import TurnTransport
from tests.support.turn_client import DUAL, PEER, RTT, V6_PEER, bound, started


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
