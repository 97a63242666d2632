"""Edits of `peers.json` change what they are asked to and nothing else."""

import json
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PeersFileError
from sidecar.peers_edit import DeviceName, listing, render, unlisting
from sidecar.peers_file import MeshRole, parse_peers_file

ALICE = DeviceName("alice", "laptop")
BOB = DeviceName("bob", "Serv 1")
SUBNET = IPv4Network("100.64.7.0/24")


def at(number: int) -> IPv4Address:
    return SUBNET[number]


def test_the_first_device_makes_the_file() -> None:
    content = listing(ALICE, at(1), None)(None)

    assert content == b'[\n  {"username": "alice", "device": "laptop", "ip": "100.64.7.1"}\n]\n'


def test_a_listed_device_keeps_its_place_and_whatever_else_it_has() -> None:
    before = b'[{"Username":"Alice","device":"laptop","IP":"100.64.7.9","x":[1]},{"username":"bob","device":"Serv 1","ip":"100.64.7.2"}]'

    after = json.loads(listing(ALICE, at(1), MeshRole.CLIENT)(before))

    assert after == [
        {"Username": "Alice", "device": "laptop", "IP": "100.64.7.1", "x": [1], "role": "client"},
        {"username": "bob", "device": "Serv 1", "ip": "100.64.7.2"},
    ]


def test_without_a_role_the_role_stays() -> None:
    before = listing(ALICE, at(1), MeshRole.GUEST)(None)

    after = parse_peers_file(listing(ALICE, at(2), None)(before), SUBNET)

    assert after.entries["alice", "laptop"].role is MeshRole.GUEST


def test_an_address_has_one_holder() -> None:
    before = listing(ALICE, at(1), None)(None)

    with pytest.raises(PeersFileError, match=r"100\.64\.7\.1 belongs to alice/laptop"):
        listing(BOB, at(1), None)(before)


def test_taking_the_last_one_off_leaves_an_empty_list_and_not_an_empty_file() -> None:
    assert unlisting(ALICE)(listing(ALICE, at(1), None)(None)) == b"[]\n"


def test_who_is_not_listed_cannot_be_taken_off() -> None:
    with pytest.raises(PeersFileError, match="bob/Serv 1 is not listed"):
        unlisting(BOB)(listing(ALICE, at(1), None)(None))


@pytest.mark.parametrize("torn", [b"", b'[{"username"', b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_a_file_that_makes_no_sense_is_not_written_over(torn: bytes) -> None:
    with pytest.raises(PeersFileError):
        listing(ALICE, at(1), None)(torn)


@pytest.mark.parametrize("text", ["", "alice", "alice/", "/laptop", " / "])
def test_a_device_has_a_user_and_a_name(text: str) -> None:
    with pytest.raises(PeersFileError, match="USERNAME/DEVICE"):
        DeviceName.parse(text)


def test_a_device_name_may_hold_a_slash_and_spaces() -> None:
    assert DeviceName.parse("Bob/Serv 1/2") == DeviceName("bob", "Serv 1/2")


names = st.builds(DeviceName, st.sampled_from(["alice", "bob"]), st.sampled_from(["a", "b", "c"]))


@given(st.lists(st.tuples(names, st.integers(1, 254)), max_size=12))
def test_whatever_is_listed_is_read_back_by_the_agents(
    wanted: list[tuple[DeviceName, int]],
) -> None:
    content: bytes | None = None
    model: dict[tuple[str, str], IPv4Address] = {}
    for name, number in wanted:
        key = (name.username, name.device)
        if at(number) in {ip for other, ip in model.items() if other != key}:
            continue
        content = listing(name, at(number), None)(content)
        model[key] = at(number)

    parsed = parse_peers_file(content or render([]), SUBNET)

    assert {key: entry.ip for key, entry in parsed.entries.items()} == model
    assert parsed.warnings == ()
