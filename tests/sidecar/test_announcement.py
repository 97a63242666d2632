"""The wire format: ours, the predecessor's, and whatever else stands in a channel."""

import json
import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sidecar.announcement
from nat.candidate import CandidateType, is_reachable_address, local_candidate
from nat.machine import Endpoint
from sidecar.announcement import (
    MAX_BYTES,
    MAX_CANDIDATES,
    Announcement,
    Leave,
    NatHint,
    Tail,
    decode,
    encode,
)
from sidecar.errors import AnnouncementError
from sidecar.identity import PublicKey

PREDECESSOR = re.compile(
    r"ANNOUNCE ([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}:[0-9]{1,5}) ([a-zA-Z0-9+/]+=?)"
)
"""The expression with which kb-wireguard searches every text; the first match wins."""

KEYS = st.binary(min_size=32, max_size=32).map(PublicKey)
IPV4 = st.ip_addresses(v=4).filter(is_reachable_address)
PORTS = st.integers(1, 65535)
ENDPOINTS_V4 = st.builds(Endpoint, IPV4, PORTS)
ENDPOINTS = st.builds(Endpoint, st.ip_addresses().filter(is_reachable_address), PORTS)
CANDIDATES = st.builds(
    local_candidate, st.sampled_from(CandidateType), ENDPOINTS, ENDPOINTS, st.integers(0, 65535)
)
SEQS = st.integers(1, 2**53 - 1)
ANNOUNCEMENTS = st.builds(
    Announcement,
    public_key=KEYS,
    endpoint=st.none() | ENDPOINTS_V4,
    seq=SEQS,
    overlay_ip=st.none() | st.ip_addresses(v=4),
    since=st.none() | SEQS,
    candidates=st.lists(CANDIDATES, max_size=20, unique_by=lambda c: c.endpoint).map(tuple),
    nat=st.none() | st.builds(NatHint, mapping=st.none() | st.text(max_size=40)),
)


@given(ANNOUNCEMENTS)
def test_an_announcement_comes_back(announcement: Announcement) -> None:
    line = encode(announcement)
    read = decode(line)

    assert len(line.encode()) <= MAX_BYTES
    assert isinstance(read, Announcement)
    assert (read.public_key, read.endpoint, read.seq, read.overlay_ip, read.since) == (
        announcement.public_key,
        announcement.endpoint,
        announcement.seq,
        announcement.overlay_ip,
        announcement.since,
    )
    sent = announcement.candidates[:MAX_CANDIDATES]
    assert [c.to_sdp() for c in read.candidates] == [c.to_sdp() for c in sent][
        : len(read.candidates)
    ]
    assert len(read.candidates) == len(sent)


@given(ANNOUNCEMENTS)
def test_the_predecessor_reads_our_endpoint_and_key_and_nothing_else(
    announcement: Announcement,
) -> None:
    matches = PREDECESSOR.findall(encode(announcement))

    if announcement.endpoint is None:
        assert matches == []
    else:
        assert matches == [(str(announcement.endpoint), str(announcement.public_key))]


@given(SEQS)
def test_a_leave_comes_back_and_says_nothing_to_the_predecessor(seq: int) -> None:
    line = encode(Leave(seq))

    assert decode(line) == Leave(seq)
    assert PREDECESSOR.search(line) is None


@given(KEYS, ENDPOINTS_V4)
def test_a_legacy_line_is_an_endpoint_and_a_key(key: PublicKey, endpoint: Endpoint) -> None:
    read = decode(f"ANNOUNCE {endpoint} {key}")

    assert read == Announcement(key, endpoint)
    assert isinstance(read, Announcement)
    assert read.legacy


@given(
    st.text()
    | st.builds(
        lambda head, rest: head + rest,
        st.sampled_from(["ANNOUNCE ", "KBWG2 ", "LEAVE "]),
        st.text(),
    )
)
def test_any_text_is_an_announcement_or_refused(text: str) -> None:
    try:
        decode(text)
    except AnnouncementError:
        pass


@given(ANNOUNCEMENTS, st.data())
def test_a_line_with_any_character_changed_is_read_or_refused(
    announcement: Announcement, data: st.DataObject
) -> None:
    line = encode(announcement)
    position = data.draw(st.integers(0, len(line) - 1))
    changed = line[:position] + data.draw(st.characters()) + line[position + 1 :]
    try:
        decode(changed)
    except AnnouncementError:
        pass


KEY = PublicKey(bytes(range(32)))


@pytest.mark.parametrize(
    "text",
    [
        f" ANNOUNCE 203.0.113.5:1 {KEY}",
        f"ANNOUNCE 203.0.113.5:0 {KEY}",
        f"ANNOUNCE 203.0.113.5:65536 {KEY}",
        f"ANNOUNCE 999.0.113.5:1 {KEY}",
        f"ANNOUNCE 127.0.0.1:1 {KEY}",
        f"ANNOUNCE 224.0.0.1:1 {KEY}",
        f"ANNOUNCE 203.0.113.5:1 {str(KEY)[:-1]}",
        f"ANNOUNCE 203.0.113.5:1 {str(KEY)[:-2]}9=",
        f"ANNOUNCE 203.0.113.5:1 {KEY}AAAA",
        f"KBWG2 {KEY}",
        f'KBWG2 {KEY} {{"v":3,"seq":1}}',
        f'KBWG2 {KEY} {{"v":2}}',
        'LEAVE {"v":9,"seq":5}',
        "LEAVE",
        "x" * (MAX_BYTES + 1),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(AnnouncementError):
        decode(text)


@pytest.mark.parametrize("tail", ['{"v":3,"seq":7}', "{", "hello", '{"seq":-1}', '{"v":2}', "[]"])
def test_a_tail_that_is_not_understood_leaves_the_legacy_part(tail: str) -> None:
    read = decode(f"ANNOUNCE 203.0.113.5:7 {KEY} {tail}")

    assert read == Announcement(KEY, Endpoint(IPv4Address("203.0.113.5"), 7))


def test_unknown_fields_are_ignored() -> None:
    read = decode(f'KBWG2 {KEY} {{"v":2,"seq":5,"colour":"blue"}}')

    assert read == Announcement(KEY, None, seq=5)


def test_a_bad_candidate_is_left_out_and_the_others_stand() -> None:
    good = local_candidate(
        CandidateType.HOST,
        Endpoint(IPv6Address("2001:db8::1"), 7),
        Endpoint(IPv6Address("2001:db8::1"), 7),
    )
    tail = {"v": 2, "seq": 5, "cand": ["junk", "1 1 udp 1 127.0.0.1 9 typ host", good.to_sdp()]}

    read = decode(f"KBWG2 {KEY} {json.dumps(tail)}")

    assert isinstance(read, Announcement)
    assert [c.endpoint.ip for c in read.candidates] == [ip_address("2001:db8::1")]


@pytest.mark.parametrize(
    ("hint", "varies"),
    [
        ('{"mapping":"endpoint-independent"}', False),
        ('{"mapping":"address-dependent"}', True),
        ('{"mapping":"address-and-port-dependent","filtering":"of some later version"}', True),
        ('{"mapping":"nobody knows"}', False),
        ("{}", False),
    ],
)
def test_a_hint_tells_whether_the_mapping_varies(hint: str, varies: bool) -> None:
    read = decode(f'KBWG2 {PublicKey(bytes(32))} {{"v":2,"seq":1,"nat":{hint}}}')

    assert isinstance(read, Announcement)
    assert read.nat is not None
    assert read.nat.mapping_varies is varies


@pytest.mark.parametrize("hint", ["null", "7", '"symmetric"', '{"mapping":7}', "[]"])
def test_a_hint_that_makes_no_sense_spoils_nothing(hint: str) -> None:
    read = decode(f'KBWG2 {PublicKey(bytes(32))} {{"v":2,"seq":1,"nat":{hint}}}')

    assert isinstance(read, Announcement)
    assert (read.seq, read.nat) == (1, None)


def test_the_published_schema_is_that_of_the_tail() -> None:
    published = Path(sidecar.announcement.__file__).with_name("announcement.schema.json")

    assert json.loads(published.read_text()) == Tail.model_json_schema()
