"""The lines of the DEV topic `kbwg`: ours come back, others are refused or harmless."""

import json
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.candidate import CandidateType, is_reachable_address, local_candidate
from nat.machine import Endpoint
from sidecar.announcement import decode as decode_announcement
from sidecar.errors import AnnouncementError
from sidecar.negotiation import (
    MAX_BYTES,
    MAX_RECIPIENTS,
    MAX_RELAYS,
    CheckRequest,
    decode,
    encode,
)

from .test_announcement import PREDECESSOR

NAMES = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=32)
ENDPOINTS = st.builds(
    Endpoint, st.ip_addresses().filter(is_reachable_address), st.integers(1, 65535)
)
RELAYS = st.builds(local_candidate, st.just(CandidateType.RELAYED), ENDPOINTS, ENDPOINTS)
REQUESTS = st.builds(
    CheckRequest,
    st.lists(st.tuples(NAMES, NAMES), max_size=MAX_RECIPIENTS).map(tuple),
    st.lists(RELAYS, max_size=MAX_RELAYS, unique_by=lambda c: c.endpoint).map(tuple),
)


@given(REQUESTS)
def test_a_request_comes_back_and_is_nothing_else(request: CheckRequest) -> None:
    line = encode(request)
    read = decode(line)

    assert len(line) <= MAX_BYTES
    assert read.recipients == request.recipients
    assert [c.to_sdp() for c in read.relays] == [c.to_sdp() for c in request.relays]
    assert PREDECESSOR.search(line) is None
    with pytest.raises(AnnouncementError):
        decode_announcement(line)


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_request_or_refused(text: str) -> None:
    try:
        decode(text)
    except AnnouncementError:
        pass


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["v", "to", "do", "relay", "x"]), inner, max_size=5)
        ),
        max_leaves=12,
    )
)
def test_any_document_is_a_request_or_refused(document: object) -> None:
    try:
        request = decode(json.dumps(document))
    except AnnouncementError:
        return
    assert len(request.recipients) <= MAX_RECIPIENTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "check",
        '{"v":2,"to":[],"do":"check"}',
        '{"v":1,"to":[],"do":"reboot"}',
        '{"v":1,"to":[["bob"]],"do":"check"}',
        json.dumps({"v": 1, "to": [["a", "b"]] * (MAX_RECIPIENTS + 1), "do": "check"}),
        json.dumps({"v": 1, "to": [], "do": "check", "relay": ["x"] * (MAX_RELAYS + 1)}),
        '{"v":1,"to":[],"do":"check","x":"' + "x" * MAX_BYTES + '"}',
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(AnnouncementError):
        decode(text)


def test_what_is_no_relay_is_left_out_and_the_request_stands() -> None:
    relay = local_candidate(
        CandidateType.RELAYED,
        Endpoint(ip_address("192.0.2.1"), 4000),
        Endpoint(ip_address("192.0.2.2"), 4001),
    )
    host = local_candidate(CandidateType.HOST, relay.endpoint, relay.endpoint)
    line = json.dumps(
        {"v": 1, "to": [["bob", "b"]], "do": "check",
         "relay": ["nonsense", host.to_sdp(), relay.to_sdp()]}
    )  # fmt: skip

    assert [c.to_sdp() for c in decode(line).relays] == [relay.to_sdp()]
