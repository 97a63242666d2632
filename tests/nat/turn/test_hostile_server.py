"""Frames that no honest server sends change nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat.stun import attributes
from nat.stun.attributes import Attribute
from nat.stun.wire import MessageClass, Method, encode
from nat.turn import message as turn
from nat.turn.framing import is_channel_data
from tests.support.turn_client import PEER, allocation_state, bound, started


def test_an_answer_with_a_wrong_integrity_changes_nothing() -> None:
    dialogue = started()
    dialogue.allocation.permit(PEER.ip, dialogue.now)
    (frame,) = dialogue.allocation.frames_to_send()
    request = turn.parse(frame)
    before = allocation_state(dialogue)
    for method_class in (MessageClass.SUCCESS, MessageClass.ERROR):
        values = [(Attribute.ERROR_CODE, attributes.error_code(437, "Allocation Mismatch"))]
        for key in (None, b"another key"):
            forged = encode(request.method, method_class, request.transaction_id, values, key)
            dialogue.allocation.receive(forged, dialogue.now)

    assert allocation_state(dialogue) == before


@pytest.mark.parametrize("code", [401, 438])
def test_a_success_that_poses_as_a_challenge_is_not_believed(code: int) -> None:
    dialogue = started()
    dialogue.allocation.permit(PEER.ip, dialogue.now)
    (frame,) = dialogue.allocation.frames_to_send()
    request = turn.parse(frame)
    before = allocation_state(dialogue)
    values = [(Attribute.ERROR_CODE, attributes.error_code(code, "whatever"))]

    forged = encode(request.method, MessageClass.SUCCESS, request.transaction_id, values)
    dialogue.allocation.receive(forged, dialogue.now)

    assert dialogue.dropped == {"answer that is not authentic": 1}
    assert allocation_state(dialogue) == before


def test_an_answer_to_nothing_changes_nothing() -> None:
    dialogue = bound()
    before = allocation_state(dialogue)
    for method in Method:
        for method_class in (MessageClass.SUCCESS, MessageClass.ERROR, MessageClass.REQUEST):
            frame = encode(method, method_class, bytes(12), [])
            dialogue.allocation.receive(frame, dialogue.now)

    assert allocation_state(dialogue) == before


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
    before = allocation_state(dialogue)
    for frame in frames:
        dialogue.allocation.receive(frame, dialogue.now)

    assert not dialogue.allocation.frames_to_send()
    assert allocation_state(dialogue) == before or any(is_channel_data(frame) for frame in frames)
