"""Both ends derive the same, everybody else something else."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from nat.path.credentials import IceCredentials, Role
from sidecar.credentials import derive, hkdf, role
from sidecar.errors import IdentityError
from sidecar.identity import NodeId, PrivateKey, PublicKey

ALICE = NodeId("alice", "aa" * 16, "laptop")
BOB = NodeId("bob", "bb" * 16, "server")
KEYS = st.binary(min_size=32, max_size=32).map(lambda raw: PrivateKey(raw).clamped())
A, B, C = (PrivateKey(bytes([n]) * 32).clamped() for n in (1, 2, 3))
ICE_CHARS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def shared(
    private: PrivateKey, own: NodeId, peer: NodeId, peer_private: PrivateKey
) -> IceCredentials:
    return derive(private, own, peer, peer_private.public_key)


@given(KEYS, KEYS)
def test_what_one_end_sends_the_other_expects(a: PrivateKey, b: PrivateKey) -> None:
    if a == b:
        return
    mine = shared(a, ALICE, BOB, b)
    theirs = shared(b, BOB, ALICE, a)

    assert (mine.local_ufrag, mine.local_password) == (theirs.remote_ufrag, theirs.remote_password)
    assert (mine.remote_ufrag, mine.remote_password) == (theirs.local_ufrag, theirs.local_password)
    assert mine.local_ufrag != mine.remote_ufrag
    assert mine.local_password != mine.remote_password


@given(KEYS, KEYS)
def test_ufrags_and_passwords_are_as_rfc_8445_section_5_3_wants(
    a: PrivateKey, b: PrivateKey
) -> None:
    if a == b:
        return
    result = shared(a, ALICE, BOB, b)

    for ufrag in (result.local_ufrag, result.remote_ufrag):
        assert len(ufrag) == 12
        assert set(ufrag) <= ICE_CHARS
    for password in (result.local_password, result.remote_password):
        assert len(password) == 32
        assert set(password) <= ICE_CHARS


@given(KEYS, KEYS)
def test_exactly_one_end_controls(a: PrivateKey, b: PrivateKey) -> None:
    if a == b:
        return
    roles = {role(a.public_key, b.public_key), role(b.public_key, a.public_key)}

    assert roles == {Role.CONTROLLING, Role.CONTROLLED}


def test_the_smaller_key_controls() -> None:
    small, large = PublicKey(bytes([1]) * 32), PublicKey(bytes([2]) * 32)

    assert role(small, large) is Role.CONTROLLING


def test_every_input_matters() -> None:
    results = [
        shared(A, ALICE, BOB, B),
        shared(C, ALICE, BOB, B),
        shared(A, ALICE, BOB, C),
        shared(A, replace(ALICE, username="mallory"), BOB, B),
        shared(A, replace(ALICE, device_id="cc" * 16), BOB, B),
        shared(A, ALICE, replace(BOB, username="mallory"), B),
        shared(A, ALICE, replace(BOB, device_id="cc" * 16), B),
        shared(A, BOB, ALICE, B),
    ]

    for part in ("local_ufrag", "local_password", "remote_ufrag", "remote_password"):
        assert len({getattr(result, part) for result in results}) == len(results)


def test_a_renamed_device_is_the_same_device() -> None:
    renamed = replace(BOB, device="another name")

    assert shared(A, ALICE, BOB, B) == shared(A, ALICE, renamed, B)


@given(st.text(max_size=12), st.text(max_size=12), st.integers(0, 24), st.integers(0, 24))
def test_no_two_identities_are_the_same_bytes(user: str, device: str, a: int, b: int) -> None:
    """Fields are framed: text moved over a border between them is another identity."""
    joined = user + device
    one = NodeId(joined[:a], joined[a:], "d")
    other = NodeId(joined[:b], joined[b:], "d")

    same = (one.username, one.device_id) == (other.username, other.device_id)
    assert (shared(A, one, BOB, B) == shared(A, other, BOB, B)) is same


def test_a_broken_name_is_not_a_traceback() -> None:
    assert shared(A, replace(ALICE, username="\ud800"), BOB, B) != shared(A, ALICE, BOB, B)


@pytest.mark.parametrize("raw", [bytes(32), b"\1" + bytes(31)], ids=["zero", "order one"])
def test_a_key_of_small_order_is_refused(raw: bytes) -> None:
    with pytest.raises(IdentityError):
        derive(A, ALICE, BOB, PublicKey(raw))


def test_our_own_key_is_refused() -> None:
    with pytest.raises(IdentityError):
        shared(A, ALICE, BOB, A)


def test_secrets_are_not_shown() -> None:
    credentials = shared(A, ALICE, BOB, B)

    assert credentials.local_password not in repr(credentials)
    assert credentials.remote_password not in repr(credentials)


def test_key_material_is_that_of_rfc_5869_appendix_a_3() -> None:
    assert hkdf(b"\x0b" * 22, b"", 42) == bytes.fromhex(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


@given(st.binary(max_size=100), st.binary(max_size=100), st.integers(1, 255 * 32))
def test_key_material_is_another_librarys(secret: bytes, info: bytes, size: int) -> None:
    theirs = HKDF(algorithm=SHA256(), length=size, salt=None, info=info).derive(secret)

    assert hkdf(secret, info, size) == theirs
