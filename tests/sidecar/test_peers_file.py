"""`peers.json`: the predecessor's shape, ours beside it, and every way to get it wrong."""

import json
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import PeersFileError
from sidecar.peers_file import MeshRole, PeersFile, PeersFileEntry, parse_peers_file

SUBNET = IPv4Network("100.0.0.0/24")


def parse(*items: object) -> PeersFile:
    return parse_peers_file(json.dumps(items).encode(), SUBNET)


def item(
    username: str = "alice", device: str = "laptop", ip: object = "100.0.0.2", **more: object
) -> dict[str, object]:
    return {"username": username, "device": device, "ip": ip, **more}


def test_reads_the_predecessors_file() -> None:
    assert parse(item()).entries == {
        ("alice", "laptop"): PeersFileEntry(
            "alice", "laptop", IPv4Address("100.0.0.2"), MeshRole.SERVER
        )
    }


def test_keys_may_be_written_in_any_case() -> None:
    assert parse({"Username": "alice", "DEVICE": "laptop", "Ip": "100.0.0.2"}) == parse(item())


def test_a_role_is_read_and_unknown_fields_are_ignored() -> None:
    result = parse(item(role="guest", colour="blue"))

    assert result.entries["alice", "laptop"].role is MeshRole.GUEST
    assert result.warnings == ()


def test_fields_of_later_versions_are_accepted_with_a_warning() -> None:
    result = parse(item(routes=["10.0.0.0/8"]))

    assert ("alice", "laptop") in result.entries
    assert result.warnings == ("entry 1: 'routes' does nothing yet",)


@pytest.mark.parametrize(
    "bad",
    [
        item(ip="10.0.0.1"),
        item(ip="100.0.0.0"),
        item(ip="100.0.0.255"),
        item(ip="fe80::1"),
        item(ip="x"),
        item(ip=7),
        item(ip=None),
        item(username=""),
        {"device": "laptop", "ip": "100.0.0.2"},
        {"username": "alice", "ip": "100.0.0.2"},
        item(role="king"),
        item(role=["server"]),
    ],
)
def test_a_bad_entry_is_refused_and_the_rest_stands(bad: dict[str, object]) -> None:
    result = parse(bad, item(username="bob", ip="100.0.0.3"))

    assert list(result.entries) == [("bob", "laptop")]
    assert len(result.warnings) == 1


def test_a_device_listed_twice_has_its_last_entry() -> None:
    result = parse(item(ip="100.0.0.2"), item(ip="100.0.0.3"))

    assert result.entries["alice", "laptop"].ip == IPv4Address("100.0.0.3")
    assert len(result.warnings) == 1


def test_an_address_listed_twice_belongs_to_the_first() -> None:
    result = parse(item(), item(username="bob"))

    assert list(result.entries) == [("alice", "laptop")]
    assert len(result.warnings) == 1


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"[1]", b"null", b"[" * 100_000, b"\xff"])
def test_a_torn_file_is_an_error(content: bytes) -> None:
    with pytest.raises(PeersFileError):
        parse_peers_file(content, SUBNET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["username", "device", "ip", "role", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=60) | JSON.map(lambda document: json.dumps(document).encode()))
def test_any_content_is_a_file_or_an_error(content: bytes) -> None:
    try:
        parse_peers_file(content, SUBNET)
    except PeersFileError:
        pass
