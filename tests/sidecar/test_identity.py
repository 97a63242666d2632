"""Keys as WireGuard has them (RFC 7748), against another library."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import IdentityError
from sidecar.identity import KEY_SIZE, PrivateKey, PublicKey

RAW = st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE)

SMALL_ORDER = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


@given(RAW, RAW)
def test_public_keys_and_secrets_are_another_librarys(one: bytes, other: bytes) -> None:
    theirs = X25519PrivateKey.from_private_bytes(one)
    peer = PrivateKey(other).public_key

    assert PrivateKey(one).public_key.raw == theirs.public_key().public_bytes_raw()
    secret = theirs.exchange(X25519PublicKey.from_public_bytes(peer.raw))
    assert PrivateKey(one).exchange(peer) == secret


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_point_of_small_order_shares_no_secret(point: bytes) -> None:
    with pytest.raises(IdentityError):
        PrivateKey(b"\x07" * KEY_SIZE).exchange(PublicKey(point))


def test_new_keys_differ_and_are_as_wireguard_stores_them() -> None:
    keys = {PrivateKey.generate() for _ in range(10)}

    assert len(keys) == 10
    assert all(key == key.clamped() for key in keys)
