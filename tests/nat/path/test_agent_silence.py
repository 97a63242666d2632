"""A far agent that falls silent while its data flows, and comes back."""

import pytest

from nat.path.events import (
    Activity,
    DataReport,
    EvidenceWanted,
    PairState,
    PathSelected,
)
from nat.stun.message import MessageClass
from tests.support.scripted import (
    PEER_HOST,
    PEER_MAPPED,
    STRANGER,
    ScriptedPeer,
)


def silent_agent() -> ScriptedPeer:
    """Two pairs were valid and `PEER_HOST` was selected; since 101.1 s only data spoke for it."""
    peer = ScriptedPeer()
    peer.run(until=90.0, answering=[PEER_HOST, PEER_MAPPED])
    for second, received in ((98.0, 0), (99.0, 1000), (100.0, 2000)):
        peer.agent.report_data(DataReport(PEER_HOST, received, received, 5.0), second)
    while peer.agent.next_event():
        pass
    peer.agent.network_changed(100.5)
    peer.run(until=110.0)
    assert peer.agent.report(110.0).activity is Activity.SILENT
    assert looks(peer) > 0, "the data is asked before the pair is given up"
    peer.agent.network_changed(110.0)
    return peer


def next_choice(peer: ScriptedPeer) -> object:
    """Take the next event that is more than a wish to look at the data."""
    while isinstance(event := peer.agent.next_event(), EvidenceWanted):
        pass
    return event


def looks(peer: ScriptedPeer) -> int:
    """Take the events, which ask for nothing but looks at the data; return how many."""
    events = []
    while (event := peer.agent.next_event()) is not None:
        events.append(event)
    assert all(isinstance(event, EvidenceWanted) for event in events), events
    return len(events)


@pytest.mark.parametrize("sign", ["answer", "check"])
def test_the_first_sign_of_life_on_another_pair_gives_the_selected_one_a_fair_chance(
    sign: str,
) -> None:
    peer = silent_agent()
    requests = peer.take(MessageClass.REQUEST)
    (other,) = [request for request in requests if request.destination == PEER_MAPPED]

    life = peer.answer(other) if sign == "answer" else peer.check(PEER_MAPPED)
    peer.agent.receive_datagram(life, 110.1)

    assert looks(peer) == 0
    asked = [d.destination for d in peer.take(MessageClass.REQUEST)]
    assert PEER_HOST in asked
    peer.run(until=115.0, answering=[PEER_HOST, PEER_MAPPED])
    looks(peer)
    assert peer.agent.report(115.0).activity is Activity.CONNECTED


def test_a_selected_pair_that_fails_its_fair_chance_is_left() -> None:
    peer = silent_agent()

    peer.run(until=115.0, answering=[PEER_MAPPED])

    event = next_choice(peer)
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == PEER_MAPPED


def test_after_data_has_moved_the_old_pair_must_prove_itself_again() -> None:
    peer = ScriptedPeer()
    peer.run(until=90.0, answering=[PEER_HOST])
    for second, sends_to in ((98.0, PEER_HOST), (99.0, STRANGER)):
        peer.agent.report_data(DataReport(sends_to, int(second), 0, 5.0), second)
    while peer.agent.next_event():
        pass

    peer.run(until=99.2, answering=[STRANGER, PEER_HOST], rtt=0.02)

    event = peer.agent.next_event()
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == STRANGER
    assert peer.agent.next_event() is None
    # It does, and is of the better kind, so it is taken back; a dead one would not be.
    peer.run(until=105.0, answering=[STRANGER, PEER_HOST], rtt=0.02)
    event = peer.agent.next_event()
    assert isinstance(event, PathSelected)
    assert event.path.remote.endpoint == PEER_HOST


def test_data_that_goes_elsewhere_vetoes_nothing() -> None:
    peer = ScriptedPeer()
    peer.run(until=90.0, answering=[PEER_HOST, PEER_MAPPED])

    for second in range(90, 120):
        peer.agent.report_data(DataReport(STRANGER, 0, 1000 * second, None), float(second))
        peer.run(until=second + 0.9, answering=[PEER_HOST, PEER_MAPPED])

    states = {pair.remote.endpoint: pair.state for pair in peer.agent.report(120.0).pairs}
    assert states[PEER_HOST] is states[PEER_MAPPED] is PairState.VALID
