"""Both ends derive the same, everybody else something else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.path.credentials import Role
from sidecar.credentials import derive, role
from sidecar.errors import IdentityError
from sidecar.identity import NodeId, PrivateKey, PublicKey

ALICE = NodeId("alice", "aa" * 16, "laptop")
BOB = NodeId("bob", "bb" * 16, "server")
KEYS = st.binary(min_size=32, max_size=32).map(lambda raw: PrivateKey(raw).clamped())


@given(KEYS, KEYS)
def test_what_one_end_sends_the_other_expects(a: PrivateKey, b: PrivateKey) -> None:
    if a == b:
        return
    mine = derive(a, ALICE, BOB, b.public_key)
    theirs = derive(b, BOB, ALICE, a.public_key)

    assert (mine.local_ufrag, mine.local_password) == (theirs.remote_ufrag, theirs.remote_password)
    assert (mine.remote_ufrag, mine.remote_password) == (theirs.local_ufrag, theirs.local_password)
    assert mine.local_ufrag != mine.remote_ufrag
    assert mine.local_password != mine.remote_password


@given(KEYS, KEYS)
def test_exactly_one_end_controls(a: PrivateKey, b: PrivateKey) -> None:
    if a == b:
        return
    roles = {role(a.public_key, b.public_key), role(b.public_key, a.public_key)}

    assert roles == {Role.CONTROLLING, Role.CONTROLLED}


def test_every_input_matters() -> None:
    a, b, c = (PrivateKey(bytes([n]) * 32).clamped() for n in (1, 2, 3))
    results = [
        derive(a, ALICE, BOB, b.public_key),
        derive(c, ALICE, BOB, b.public_key),
        derive(a, ALICE, BOB, c.public_key),
        derive(a, replace(ALICE, username="mallory"), BOB, b.public_key),
        derive(a, replace(ALICE, device_id="cc" * 16), BOB, b.public_key),
        derive(a, ALICE, replace(BOB, username="mallory"), b.public_key),
        derive(a, ALICE, replace(BOB, device_id="cc" * 16), b.public_key),
    ]

    assert len({r.local_password for r in results}) == len(results)
    assert len({r.remote_ufrag for r in results}) == len(results)


def test_a_renamed_device_is_the_same_device() -> None:
    a, b = (PrivateKey(bytes([n]) * 32).clamped() for n in (1, 2))

    renamed = replace(BOB, device="another name")

    assert derive(a, ALICE, BOB, b.public_key) == derive(a, ALICE, renamed, b.public_key)


def test_a_length_moved_between_fields_changes_the_result() -> None:
    a, b = (PrivateKey(bytes([n]) * 32).clamped() for n in (1, 2))

    one = derive(a, NodeId("alice", "1x", "d"), BOB, b.public_key)
    other = derive(a, NodeId("alice1", "x", "d"), BOB, b.public_key)

    assert one != other


@pytest.mark.parametrize("raw", [bytes(32), b"\1" + bytes(31)], ids=["zero", "order one"])
def test_a_key_of_small_order_is_refused(raw: bytes) -> None:
    with pytest.raises(IdentityError):
        derive(PrivateKey(bytes([1]) * 32).clamped(), ALICE, BOB, PublicKey(raw))


def test_secrets_are_not_shown() -> None:
    a, b = (PrivateKey(bytes([n]) * 32).clamped() for n in (1, 2))
    credentials = derive(a, ALICE, BOB, b.public_key)

    assert credentials.local_password not in repr(credentials)
    assert credentials.remote_password not in repr(credentials)
