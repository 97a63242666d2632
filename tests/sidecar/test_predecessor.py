"""Nothing that we post can crash kb-wireguard or break its configuration, whatever it is."""

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.predecessor import (
    WINDOW_SECONDS,
    Predecessor,
    PredecessorCrash,
    PredecessorExit,
    announcement,
    parse,
)
from nat.machine import Endpoint
from sidecar.announcement import Announcement, Leave, decode, encode

from .test_announcement import ANNOUNCEMENTS, ENDPOINTS_V4, KEYS, SEQS

PEERS = """[
    {"username": "bob", "device": "old", "ip": "100.0.0.2"},
    {"Username": "alice", "DEVICE": "laptop", "ip": "100.0.0.1", "role": "server"},
    {"username": "carol", "device": "phone", "ip": "100.0.0.3"}
]"""

LINES = ANNOUNCEMENTS | st.builds(Leave, SEQS)

NOW = 1_780_000_000


def predecessor() -> Predecessor:
    made = Predecessor("bob", "old")
    made.load_peers(PEERS)
    return made


def text(
    id_: int, body: str, *, username: str = "alice", device: str = "laptop", sent_at: int = NOW
) -> dict[str, Any]:
    sender = {"username": username, "device_name": device}
    content = {"type": "text", "text": {"body": body}}
    return {"msg": {"id": id_, "sent_at": sent_at, "sender": sender, "content": content}}


def newest_first(*bodies: str) -> list[dict[str, Any]]:
    return [text(number, body) for number, body in enumerate(bodies, 1)][::-1]


def peers_of(configuration: str) -> list[dict[str, str]]:
    """Read a configuration as `wg syncconf` does, which refuses all of it for one wrong line."""
    sections = configuration.split("[Peer]\n")[1:]
    return [dict(re.findall(r"^(\w+) = (.*)$", section, re.MULTILINE)) for section in sections]


@given(st.lists(LINES, min_size=1, max_size=6))
def test_its_configuration_follows_our_latest_line_with_an_endpoint_and_is_always_sound(
    lines: list[Announcement | Leave],
) -> None:
    old = predecessor()

    old.read(newest_first(*map(encode, lines)), NOW)

    offered = [a for a in lines if isinstance(a, Announcement) and a.endpoint is not None]
    peers = peers_of(old.configuration("private", 51820))
    if not offered:
        assert peers == []
        return
    [peer] = peers
    assert peer == {
        "PublicKey": str(offered[-1].public_key),
        "AllowedIPs": "100.0.0.1",
        "Endpoint": str(offered[-1].endpoint),
    }
    assert len(base64.b64decode(peer["PublicKey"], validate=True)) == 32


@given(LINES)
def test_a_line_of_ours_is_one_announcement_to_it_or_none(line: Announcement | Leave) -> None:
    body = encode(line)

    said = parse(body)

    if isinstance(line, Announcement) and line.endpoint is not None:
        assert said == (str(line.endpoint), str(line.public_key))
        # The rest of the line holds no other, whatever its candidates and hints are called.
        assert parse(body[len("ANNOUNCE ") :]) is None
    else:
        assert said is None


@given(KEYS, ENDPOINTS_V4)
def test_what_it_posts_is_a_legacy_peer_of_ours(key: Any, endpoint: Endpoint) -> None:
    line = decode(announcement(str(endpoint), str(key)))

    assert isinstance(line, Announcement)
    assert line.legacy
    assert (line.endpoint, line.public_key) == (endpoint, key)


def test_it_believes_listed_devices_within_the_hour_and_by_their_exact_names_only() -> None:
    old = predecessor()
    key = "A" * 43 + "="
    line = announcement("192.0.2.1:4000", key)

    assert not old.read([text(1, line, username="mallory")], NOW)
    assert not old.read([text(2, line, device="Laptop")], NOW)
    assert not old.read([text(3, line, sent_at=NOW - int(WINDOW_SECONDS) - 1)], NOW)
    assert old.read([text(4, line)], NOW)
    assert not old.read([text(3, announcement("192.0.2.2:4000", key))], NOW), "an older one"
    assert peers_of(old.configuration("private", 1))[0]["Endpoint"] == "192.0.2.1:4000"


def test_one_junk_key_of_a_listed_device_would_break_it_so_ours_are_never_junk() -> None:
    old = predecessor()
    old.read([text(1, "ANNOUNCE 192.0.2.1:4000 junk")], NOW)

    assert peers_of(old.configuration("private", 1))[0]["PublicKey"] == "junk"


def test_an_entry_that_cannot_be_decrypted_crashes_it_so_we_let_nothing_explode() -> None:
    with pytest.raises(PredecessorCrash):
        predecessor().read([{"error": "This exploding message is not available"}], NOW)


@pytest.mark.parametrize("listed", ["[]", '[{"username": "bob", "device": "old", "ip": "x"}]'])
def test_it_does_not_start_where_it_is_not_listed_or_an_address_is_none(listed: str) -> None:
    with pytest.raises(PredecessorExit):
        Predecessor("bob", "old").load_peers(listed)
